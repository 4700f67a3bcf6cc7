"""JSON, urlencoded and base64 of remove.bg's clients, and bodies that are to cost a parser dear."""

import base64
import json
import tracemalloc
from collections.abc import Callable
from urllib.parse import quote, urlencode

import numpy as np
import pytest

from silhouette_seg.api.removebg.bodies import MAX_BESIDES_BYTES, MAX_FIELDS, MAX_NAME
from silhouette_seg.api.removebg.request import JSON, URLENCODED, RemovebgIntake, from_text
from silhouette_seg.api.request.multipart import MAX_TEXT_BYTES
from silhouette_seg.errors import (
    AmbiguousSource,
    BadParameter,
    BodyTooLarge,
    MalformedBody,
    MissingImage,
    ServiceError,
)

PHOTO = np.random.default_rng(0).bytes(5000)  # every character of base64 is in it
TEXT = base64.b64encode(PHOTO).decode()
LIMIT = 1_000_000
MANY = 8 << 20
"""Bytes of a hostile body."""
MOST = 4
"""Times the body that reading it may take."""


def read(kind: str, body: str | bytes, limit: int = LIMIT) -> RemovebgIntake:
    return from_text(kind, body.encode() if isinstance(body, str) else body, limit)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, json.dumps({"size": "full", "image_file_b64": TEXT})),
        (JSON, json.dumps({"image_file_b64": TEXT, "size": "full"}, indent=4)),
        (JSON, json.dumps({"image_file_b64": TEXT, "size": "full"}).replace("/", r"\/")),
        (
            JSON,
            json.dumps({"image_file_b64": TEXT, "size": "full"})
            .replace("+", r"\u002B")
            .replace("/", r"\u002f")
            .replace("=", r"\u003d"),
        ),
        (JSON, json.dumps({"image_file_b64": base64.encodebytes(PHOTO).decode(), "size": "full"})),
        (JSON, json.dumps({"image_file_b64": f"data:image/png;base64,{TEXT}", "size": "full"})),
        (JSON, json.dumps({r"image_file_b64": TEXT, "size": "full"}).replace("e_f", r"e\u005ff")),
        (URLENCODED, urlencode({"size": "full", "image_file_b64": TEXT})),
        (URLENCODED, urlencode({"image_file_b64": TEXT, "size": "full"})),
        (URLENCODED, f"image_file_b64={TEXT}&size=full"),  # a + that is not escaped
        (URLENCODED, f"image_file_b64={quote(TEXT).replace('%2B', '%2b')}&size=full"),
        (URLENCODED, f"image_file_b64={quote(TEXT.replace('+', ' '))}&size=full"),
        (URLENCODED, f"image_file_b64={quote(base64.encodebytes(PHOTO))}&size=full"),
        (URLENCODED, urlencode({"image_file_b64": f"data:a/b;base64,{TEXT}", "size": "full"})),
    ],
)
def test_a_photo_in_every_spelling(kind, body):
    assert read(kind, body) == RemovebgIntake(PHOTO, None, {"size": "full"})


def test_values_of_json():
    body = json.dumps({"image_file_b64": TEXT, "crop": True, "type_level": 1, "bg_color": None})
    assert read(JSON, body).fields == {"crop": "true", "type_level": "1"}


def test_values_of_a_form():
    body = f"image_file_b64={TEXT}&bg_color=%2381d4fa&crop=&position=0%25+50%25"
    fields = {"bg_color": "#81d4fa", "crop": "", "position": "0% 50%"}
    assert read(URLENCODED, body).fields == fields


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        (JSON, "{}", MissingImage),
        (JSON, '{"image_file_b64": ""}', MissingImage),
        (JSON, '{"a": {"image_file_b64": "QUJD"}}', BadParameter),
        (JSON, '[{"image_file_b64": "QUJD"}]', MalformedBody),
        (JSON, '{"image_file_b64": "QUJD', MalformedBody),
        (JSON, '{"image_file_b64": "QUJD", "image_file_b64": "QUJD"}', BadParameter),
        (JSON, '{"image_file_b64": "QUJD", "size": "full", "size": "full"}', BadParameter),
        (JSON, r'{"image_file_b64": "QU\"JD"}', BadParameter),
        (JSON, r'{"image_file_b64": "QU\\JD"}', BadParameter),
        (JSON, r'{"image_file_b64": "QU\\/JD"}', BadParameter),
        (JSON, '{"image_file_b64": "QUJ"}', BadParameter),
        (JSON, '{"image_file_b64": 5}', BadParameter),
        (JSON, r'{"size": "\"image_file_b64\": \"QUJD"}', MissingImage),
        (JSON, r'{"\"image_file_b64": "QUJD"}', MissingImage),
        (JSON, '{"image_file_b64": "QUJD", "image_url": "http://x/y"}', AmbiguousSource),
        (URLENCODED, "size=full", MissingImage),
        (URLENCODED, "image_file_b64=", MissingImage),
        (URLENCODED, "my_image_file_b64=QUJD", MissingImage),
        (URLENCODED, "image_file_b64=QUJD&image_file_b64=QUJD", BadParameter),
        (URLENCODED, "image_file_b64=QUJD%25", BadParameter),
        (URLENCODED, "image_file_b64=QUJD&size=%ff", MalformedBody),
        (URLENCODED, b"image_file_b64=\xff\xff\xff\xff", BadParameter),
    ],
)
def test_what_is_refused(kind, body, error):
    with pytest.raises(ServiceError) as refused:
        read(kind, body)
    assert type(refused.value) is error


def filled(begin: bytes, item: bytes, end: bytes) -> bytes:
    return begin + item * ((MANY - len(begin) - len(end)) // len(item)) + end


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


def peak(call: Callable[[], object]) -> int:
    """Bytes that were taken at most, beside those that had been before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refusal(kind: str, body: bytes) -> ServiceError:
    with pytest.raises(ServiceError) as refused:
        read(kind, body)
    return refused.value


@pytest.mark.parametrize(("kind", "body"), HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_large_but_a_photo_is_read(kind, body):
    refused: list[ServiceError] = []
    assert peak(lambda: refused.append(refusal(kind, body))) < MOST * len(body)
    assert type(refused[0]) is BodyTooLarge
    assert refused[0].limit == MAX_BESIDES_BYTES
    assert refused[0].actual == pytest.approx(len(body), abs=100)


@pytest.mark.parametrize(("kind", "body"), LARGE.values(), ids=LARGE.keys())
def test_a_large_photo_takes_little_more_than_itself(kind, body):
    refused: list[ServiceError] = []
    assert peak(lambda: refused.append(refusal(kind, body))) < MOST * len(body)
    assert type(refused[0]) is BodyTooLarge
    assert refused[0].limit == LIMIT
    assert refused[0].actual > LIMIT
    assert len(read(kind, body, limit=MANY).image) == refused[0].actual


def test_a_little_of_what_costs_much_is_read():
    """As much as there may be besides the photo, of what takes most memory."""
    for kind, begin, item, end in (
        (URLENCODED, b"image_file_b64=QUJD&", b"x=%41&", b"y=1"),
        (JSON, b'{"image_file_b64":"QUJD","a":[', b"{},", b"{}]}"),
    ):
        body = begin + item * ((MAX_BESIDES_BYTES - len(begin + end)) // len(item)) + end
        assert peak(lambda kind=kind, body=body: refusal(kind, body)) < 200 * len(body)


@pytest.mark.parametrize("kind", [JSON, URLENCODED])
def test_texts_are_short(kind):
    def body(size: int) -> str:
        fields = {"image_file_b64": TEXT, "size": "x" * size}
        return json.dumps(fields) if kind == JSON else urlencode(fields)

    assert read(kind, body(MAX_TEXT_BYTES)).fields == {"size": "x" * MAX_TEXT_BYTES}
    refused = refusal(kind, body(MAX_TEXT_BYTES + 1).encode())
    assert type(refused) is BadParameter
    assert (refused.limit, refused.actual) == (MAX_TEXT_BYTES, MAX_TEXT_BYTES + 1)


def test_fields_of_a_form_are_few():
    def body(count: int) -> bytes:
        return "&".join([f"image_file_b64={TEXT}", *(f"a{n}=" for n in range(count - 1))]).encode()

    assert len(read(URLENCODED, body(MAX_FIELDS)).fields) == MAX_FIELDS - 1
    refused = refusal(URLENCODED, body(MAX_FIELDS + 1))
    assert type(refused) is MalformedBody
    assert (refused.limit, refused.actual) == (MAX_FIELDS, MAX_FIELDS + 1)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, '{"%s": []}'),
        (JSON, '{"%s": 1, "%s": 1}'),
        (JSON, '{"%s": "' + "x" * 5000 + '"}'),
        (URLENCODED, "%s=1&%s=1"),
    ],
)
def test_a_long_name_is_not_told_back_whole(kind, body):
    name = "n" * 9000
    assert len(refusal(kind, body.replace("%s", name).encode()).detail) < MAX_NAME + 60
