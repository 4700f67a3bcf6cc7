"""JSON and urlencoded bodies of remove.bg's clients, and bodies that attack a parser."""

import base64
import json
import tracemalloc
from urllib.parse import quote, urlencode

import numpy as np
import pytest

from silhouette_seg.api.media_types import JSON, URLENCODED
from silhouette_seg.api.removebg.parameters import MAX_ECHOED_NAME_CHARS
from silhouette_seg.api.removebg.request import RemovebgUpload, parse_text_body
from silhouette_seg.api.request.base64_bodies import MAX_BYTES_WITHOUT_PHOTO, MAX_FIELDS
from silhouette_seg.api.request.multipart import MAX_TEXT_BYTES
from silhouette_seg.api.request.uploads import UploadedImage
from silhouette_seg.errors import (
    AmbiguousSource,
    BadParameter,
    BodyTooLarge,
    MalformedBody,
    MissingImage,
    ServiceError,
)

PHOTO = np.random.default_rng(0).bytes(5000)  # its base64 has every character
ENCODED = base64.b64encode(PHOTO).decode()
MAX_PHOTO_BYTES = 1_000_000
HOSTILE_BYTES = 8 << 20
MAX_MEMORY_FACTOR = 4
"""Bytes of memory that parsing may take for each byte of the body."""


def parse(kind: str, body: str | bytes, max_bytes: int = MAX_PHOTO_BYTES) -> RemovebgUpload:
    return parse_text_body(kind, body.encode() if isinstance(body, str) else body, max_bytes)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, json.dumps({"size": "full", "image_file_b64": ENCODED})),
        (JSON, json.dumps({"image_file_b64": ENCODED, "size": "full"}, indent=4)),
        (JSON, json.dumps({"image_file_b64": ENCODED, "size": "full"}).replace("/", r"\/")),
        (
            JSON,
            json.dumps({"image_file_b64": ENCODED, "size": "full"})
            .replace("+", r"\u002B")
            .replace("/", r"\u002f")
            .replace("=", r"\u003d"),
        ),
        (JSON, json.dumps({"image_file_b64": base64.encodebytes(PHOTO).decode(), "size": "full"})),
        (JSON, json.dumps({"image_file_b64": f"data:image/png;base64,{ENCODED}", "size": "full"})),
        (
            JSON,
            json.dumps({r"image_file_b64": ENCODED, "size": "full"}).replace("e_f", r"e\u005ff"),
        ),
        (URLENCODED, urlencode({"size": "full", "image_file_b64": ENCODED})),
        (URLENCODED, urlencode({"image_file_b64": ENCODED, "size": "full"})),
        (URLENCODED, f"image_file_b64={ENCODED}&size=full"),  # an unescaped +
        (URLENCODED, f"image_file_b64={quote(ENCODED).replace('%2B', '%2b')}&size=full"),
        (URLENCODED, f"image_file_b64={quote(ENCODED.replace('+', ' '))}&size=full"),
        (URLENCODED, f"image_file_b64={quote(base64.encodebytes(PHOTO))}&size=full"),
        (URLENCODED, urlencode({"image_file_b64": f"data:a/b;base64,{ENCODED}", "size": "full"})),
    ],
)
def test_photo_is_parsed_in_every_spelling(kind, body):
    assert parse(kind, body) == RemovebgUpload(
        UploadedImage(PHOTO, digest=""), None, {"size": "full"}
    )


def test_json_values_become_texts():
    body = json.dumps({"image_file_b64": ENCODED, "crop": True, "type_level": 1, "bg_color": None})
    assert parse(JSON, body).fields == {"crop": "true", "type_level": "1"}


def test_form_values_are_unescaped():
    body = f"image_file_b64={ENCODED}&bg_color=%2381d4fa&crop=&position=0%25+50%25"
    fields = {"bg_color": "#81d4fa", "crop": "", "position": "0% 50%"}
    assert parse(URLENCODED, body).fields == fields


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        (JSON, "{", MalformedBody),
        (JSON, "[" * 50_000, MalformedBody),
        (JSON, "{}", MissingImage),
        (JSON, '{"image_file_b64": ""}', MissingImage),
        (JSON, '{"a": {"image_file_b64": "QUJD"}}', BadParameter),
        (JSON, '[{"image_file_b64": "QUJD"}]', MalformedBody),
        (JSON, '{"image_file_b64": "QUJD', MalformedBody),
        (JSON, '{"image_file_b64": "QUJD", "image_file_b64": "QUJD"}', BadParameter),
        (JSON, '{"image_file_b64": "QUJD", "size": "full", "size": "hd"}', BadParameter),
        (JSON, r'{"image_file_b64": "QU\"JD"}', BadParameter),
        (JSON, r'{"image_file_b64": "QU\\JD"}', BadParameter),
        (JSON, r'{"image_file_b64": "QU\\/JD"}', BadParameter),
        (JSON, '{"image_file_b64": "QUJ"}', BadParameter),
        (JSON, '{"image_file_b64": 5}', BadParameter),
        (JSON, r'{"image_file_b64": "\u00e9"}', BadParameter),
        (JSON, '{"image_file_b64": "QUJD", "size": ["full"]}', BadParameter),
        (JSON, r'{"size": "\"image_file_b64\": \"QUJD"}', MissingImage),
        (JSON, r'{"\"image_file_b64": "QUJD"}', MissingImage),
        (JSON, '{"image_file_b64": "QUJD", "image_url": "http://x/y"}', AmbiguousSource),
        (URLENCODED, "size=full", MissingImage),
        (URLENCODED, "image_file_b64=", MissingImage),
        (URLENCODED, "my_image_file_b64=QUJD", MissingImage),
        (URLENCODED, "image_file_b64=QUJD&image_file_b64=QUJD", BadParameter),
        (URLENCODED, "image_file_b64=QUJD%25", BadParameter),
        (URLENCODED, "image_file_b64=QUJD&size=%ff", MalformedBody),
        (URLENCODED, "image_file_b64=QUJD&size=a&size=b", BadParameter),
        (URLENCODED, b"\xff=1", MalformedBody),
        (URLENCODED, b"image_file_b64=\xff\xff\xff\xff", BadParameter),
    ],
)
def test_invalid_body_raises_its_error(kind, body, error):
    assert type(error_of(kind, body)) is error


def filled(start: bytes, item: bytes, end: bytes, size: int = HOSTILE_BYTES) -> bytes:
    """Returns a body of about `size` bytes that repeats `item`."""
    return start + item * ((size - len(start) - len(end)) // len(item)) + end


HOSTILE = {
    "escapes in a form": (URLENCODED, filled(b"x=", b"%41", b"")),
    "escapes after the photo": (URLENCODED, filled(b"image_file_b64=QUJD&x=", b"%41", b"")),
    "fields of a form": (URLENCODED, filled(b"", b"&", b"a=1")),
    "photos in a form": (URLENCODED, filled(b"size=full", b"&image_file_b64=QUJD", b"")),
    "objects in JSON": (JSON, filled(b'{"a":[', b"{},", b"{}]}")),
    "objects after the photo": (JSON, filled(b'{"image_file_b64":"QUJD","a":[', b"{},", b"{}]}")),
    "lists in JSON": (JSON, filled(b'{"a":', b"[", b"}")),
    "blanks in JSON": (JSON, filled(b'{"image_file_b64"', b" ", b":5}")),
    "a long text in JSON": (JSON, filled(b'{"a":"', rb"\n", b'"}')),
}
LARGE = {
    "in a form": (URLENCODED, filled(b"image_file_b64=", b"QUJD", b"")),
    "lines in a form": (URLENCODED, filled(b"image_file_b64=", b"aaaa%0A", b"")),
    "escapes in a form": (URLENCODED, filled(b"image_file_b64=", b"%2b" * 4, b"")),
    "in JSON": (JSON, filled(b'{"image_file_b64":"', b"QUJD", b'"}')),
    "lines in JSON": (JSON, filled(b'{"image_file_b64":"', rb"aaaa\n", b'"}')),
    "escapes in JSON": (JSON, filled(b'{"image_file_b64":"', rb"\u002b" * 4, b'"}')),
    "slashes in JSON": (JSON, filled(b'{"image_file_b64":"', rb"\/" * 4, b'"}')),
    "a data URL": (JSON, filled(b'{"image_file_b64":"data:a/b;base64,', b"QUJD", b'"}')),
}


def error_of(kind: str, body: str | bytes) -> ServiceError:
    with pytest.raises(ServiceError) as rejected:
        parse(kind, body)
    return rejected.value


def error_and_peak_memory(kind: str, body: bytes) -> tuple[ServiceError, int]:
    """Returns the error of a body, and the bytes of memory that parsing added at most."""
    tracemalloc.start()
    try:
        return error_of(kind, body), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("kind", "body"), HOSTILE.values(), ids=HOSTILE.keys())
def test_large_body_without_large_photo_is_rejected_unparsed(kind, body):
    error, memory = error_and_peak_memory(kind, body)
    assert memory < MAX_MEMORY_FACTOR * len(body)
    assert type(error) is BodyTooLarge
    assert error.limit == MAX_BYTES_WITHOUT_PHOTO
    assert error.actual == pytest.approx(len(body), abs=100)


@pytest.mark.parametrize(("kind", "body"), LARGE.values(), ids=LARGE.keys())
def test_large_photo_takes_little_more_memory_than_itself(kind, body):
    error, memory = error_and_peak_memory(kind, body)
    assert memory < MAX_MEMORY_FACTOR * len(body)
    assert type(error) is BodyTooLarge
    assert error.limit == MAX_PHOTO_BYTES
    assert error.actual > MAX_PHOTO_BYTES
    assert len(parse(kind, body, max_bytes=HOSTILE_BYTES).image.data) == error.actual


@pytest.mark.parametrize(
    ("kind", "start", "item", "end"),
    [
        (URLENCODED, b"image_file_b64=QUJD&", b"x=%41&", b"y=1"),
        (JSON, b'{"image_file_b64":"QUJD","a":[', b"{},", b"{}]}"),
    ],
)
def test_expensive_text_fields_take_bounded_memory(kind, start, item, end):
    """The body is as large as it may be besides the photo, with the most expensive items."""
    body = filled(start, item, end, MAX_BYTES_WITHOUT_PHOTO)
    assert error_and_peak_memory(kind, body)[1] < 200 * len(body)


@pytest.mark.parametrize("kind", [JSON, URLENCODED])
def test_long_text_field_is_rejected_with_limit(kind):
    def body(size: int) -> str:
        fields = {"image_file_b64": ENCODED, "size": "x" * size}
        return json.dumps(fields) if kind == JSON else urlencode(fields)

    assert parse(kind, body(MAX_TEXT_BYTES)).fields == {"size": "x" * MAX_TEXT_BYTES}
    error = error_of(kind, body(MAX_TEXT_BYTES + 1))
    assert type(error) is BadParameter
    assert (error.limit, error.actual) == (MAX_TEXT_BYTES, MAX_TEXT_BYTES + 1)


def test_form_with_many_fields_is_rejected_with_limit():
    def body(count: int) -> bytes:
        return "&".join(
            [f"image_file_b64={ENCODED}", *(f"a{n}=" for n in range(count - 1))]
        ).encode()

    assert len(parse(URLENCODED, body(MAX_FIELDS)).fields) == MAX_FIELDS - 1
    error = error_of(URLENCODED, body(MAX_FIELDS + 1))
    assert type(error) is MalformedBody
    assert (error.limit, error.actual) == (MAX_FIELDS, MAX_FIELDS + 1)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, '{"%s": []}'),
        (JSON, '{"%s": 1, "%s": 1}'),
        (JSON, '{"%s": "' + "x" * 5000 + '"}'),
        (URLENCODED, "%s=1&%s=1"),
    ],
)
def test_long_field_name_is_cut_in_the_error(kind, body):
    name = "n" * 9000
    assert len(error_of(kind, body.replace("%s", name)).detail) < MAX_ECHOED_NAME_CHARS + 60
