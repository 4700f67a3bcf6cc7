"""Parsers of JSON and urlencoded bodies in which some values may be whole photos in base64.

General parsers take many times the memory of a body, and they block all other threads until they
are done. The photos are therefore cut out first, and they parse only the small rest of the body.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qsl

from silhouette_seg.api.request.multipart import MAX_TEXT_BYTES
from silhouette_seg.api.request.parameters import MAX_NAME_CHARS, NO_URLS, unique_values
from silhouette_seg.errors import BadParameter, BodyTooLarge, MalformedBody

MAX_BYTES_WITHOUT_PHOTO = 64 * 1024
"""Maximum bytes of a body, its photos not counted."""
MAX_FIELDS = 64
"""Maximum number of fields of an urlencoded form."""

_SPACE = b" \t\r\n"
_JSON_ESCAPES = {
    **{rb"\/": b"/", rb"\n": b"\n", rb"\r": b"\r", rb"\t": b"\t"},
    **{
        b"\\u" + number: b"%c" % int(number, 16)
        for number in (b"002b", b"002B", b"002f", b"002F", b"003d", b"003D")
    },
}
"""JSON escapes of base64 characters and of white space, and the byte of each."""
_FORM_ESCAPES = {
    (spelling % code).encode(): b"%c" % code
    for code in b"+/=:;," + _SPACE
    for spelling in ("%%%02X", "%%%02x")
}
"""Percent escapes of base64 characters, of a data URL's prefix and of white space.

The value is the byte of each.
"""


@dataclass(frozen=True, slots=True)
class TextBody:
    """The text fields of a body by name, and its photos in base64 by name.

    Neither has a photo that is empty.
    """

    fields: dict[str, str]
    photos: dict[str, bytes]


def parse_json(body: bytes, photo_names: tuple[str, ...]) -> TextBody:
    """Parses a JSON object, and returns its members as text and its photos in base64.

    Members named in `photo_names` are photos. Raises MalformedBody for invalid JSON, BodyTooLarge
    if the part besides the photos is too large, and BadParameter for an invalid member.
    """
    photos, rest = _split_photos(body, _json_photo_start(photo_names), b'"')
    for name, photo in photos.items():
        if photo.endswith(b"\\"):  # the closing quote was escaped: the value holds a quote
            raise _invalid_base64(name)
    try:
        document = json.loads(rest, object_pairs_hook=unique_values)
    except (ValueError, RecursionError):
        raise MalformedBody("The body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise MalformedBody("The body is not a JSON object.")
    fields = {name: _to_text(name, value) for name, value in document.items() if value is not None}
    return _text_body(
        fields,
        {name: _unescape(photo, _JSON_ESCAPES) for name, photo in photos.items()},
        photo_names,
    )


def parse_form(body: bytes, photo_names: tuple[str, ...]) -> TextBody:
    """Parses an urlencoded form, and returns its fields and its photos in base64.

    Fields named in `photo_names` are photos. Raises MalformedBody for an invalid form, BodyTooLarge
    if the part besides the photos is too large, and BadParameter for an invalid field.
    """
    photos, rest = _split_photos(body, _form_photo_start(photo_names), b"&")
    count = rest.count(b"&") + 1
    if count > MAX_FIELDS:
        raise MalformedBody("The form has too many fields.", limit=MAX_FIELDS, actual=count)
    try:
        pairs = parse_qsl(rest.decode(), keep_blank_values=True, errors="strict")
    except ValueError:
        raise MalformedBody("The body is not a valid form.") from None
    # Form decoders turn `+` into a space. Base64 has no spaces, so this one was a `+`.
    decoded = {
        name: _unescape(photo, _FORM_ESCAPES).replace(b" ", b"+") for name, photo in photos.items()
    }
    return _text_body(unique_values(pairs), decoded, photo_names)


def decode_base64(name: str, text: bytes, limit: int) -> bytes:
    """Returns the bytes of the photo `name` that `text` holds in base64 or as a base64 data URL.

    Raises BadParameter for invalid base64, and BodyTooLarge for more than `limit` bytes.
    """
    if text[:8].lower().startswith((b"http://", b"https://")):
        raise BadParameter(f"{name}: {NO_URLS}, in base64")
    if text.startswith(b"data:"):
        text = text.partition(b",")[2]
    try:
        data = base64.b64decode(text.translate(None, _SPACE), validate=True)
    except binascii.Error:
        raise _invalid_base64(name) from None
    if len(data) > limit:
        raise BodyTooLarge(f"{name} has too many bytes.", limit=limit, actual=len(data))
    return data


def max_encoded_bytes(size: int) -> int:
    """Returns the maximum bytes of a body with photos of `size` bytes together in base64.

    Their `+`, `/` and `=` may be percent-encoded, and the other fields are added.
    """
    return size * 3 // 2 + MAX_BYTES_WITHOUT_PHOTO


@cache
def _json_photo_start(names: tuple[str, ...]) -> re.Pattern[bytes]:
    return re.compile(rb'(?<!\\)"(%s)"\s*:\s*"' % _alternatives(names))


@cache
def _form_photo_start(names: tuple[str, ...]) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\A|&)(%s)=" % _alternatives(names))


def _alternatives(names: Sequence[str]) -> bytes:
    return "|".join(map(re.escape, names)).encode()


def _split_photos(
    body: bytes, start: re.Pattern[bytes], end: bytes
) -> tuple[dict[str, bytes], bytes]:
    """Cuts the photos out of a body; returns their text, still escaped, and the rest of the body.

    A photo begins after a match of `start`, which has its name, and ends before the byte `end`.
    The rest counts up to `MAX_BYTES_WITHOUT_PHOTO` bytes, and only so far is a start searched.
    Raises BodyTooLarge if the rest is larger.
    """
    photos: dict[str, bytes] = {}
    rest: list[bytes] = []
    position, rest_bytes = 0, 0
    while match := start.search(body, position, position + MAX_BYTES_WITHOUT_PHOTO - rest_bytes):
        name = match[1].decode()
        if name in photos:
            break  # the rest has the name twice, and its parser refuses that
        last = body.find(end, match.end())
        last = len(body) if last < 0 else last
        photos[name] = body[match.end() : last]
        rest.append(body[position : match.end()])
        rest_bytes += match.end() - position
        position = last
    rest_bytes += len(body) - position
    if rest_bytes > MAX_BYTES_WITHOUT_PHOTO:
        raise BodyTooLarge(
            "The body without its photos has too many bytes.",
            limit=MAX_BYTES_WITHOUT_PHOTO,
            actual=rest_bytes,
        )
    return photos, b"".join([*rest, body[position:]])


def _unescape(text: bytes, escapes: Mapping[bytes, bytes]) -> bytes:
    for escape, character in escapes.items():
        text = text.replace(escape, character)
    return text


def _text_body(
    fields: dict[str, str], photos: Mapping[str, bytes], photo_names: Sequence[str]
) -> TextBody:
    """Checks the length of every text field, and returns the fields and the photos.

    If the body spelled the name of a photo with escapes, the photo is still among the fields and is
    taken from there. Raises BadParameter for a text of more than `MAX_TEXT_BYTES`.
    """
    texts = {name: fields.pop(name, "") for name in photo_names}
    for name, value in fields.items():
        size = len(value.encode(errors="replace"))
        if size > MAX_TEXT_BYTES:
            raise BadParameter(
                f"{_echoed(name)}: has too many bytes", limit=MAX_TEXT_BYTES, actual=size
            )
    found = {
        name: photos.get(name) or text.encode("ascii", "replace") for name, text in texts.items()
    }
    return TextBody(fields, {name: photo for name, photo in found.items() if photo})


def _to_text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise BadParameter(f"{_echoed(name)}: must be a string, a number, true or false")


def _echoed(name: str) -> str:
    return name[:MAX_NAME_CHARS]


def _invalid_base64(name: str) -> BadParameter:
    return BadParameter(f"{name}: is not base64")
