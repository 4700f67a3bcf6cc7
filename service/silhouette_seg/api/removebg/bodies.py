"""Parsers of JSON and urlencoded bodies in which one value may be a whole photo in base64.

General parsers take many times the memory of a body, and they block all other threads until they
are done. The photo is therefore cut out first, and they parse only the small rest of the body.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from silhouette_seg.api.removebg.parameters import MAX_ECHOED_NAME_CHARS
from silhouette_seg.api.request.multipart import MAX_TEXT_BYTES
from silhouette_seg.api.request.parameters import unique_values
from silhouette_seg.errors import BadParameter, BodyTooLarge, MalformedBody

IMAGE_BASE64 = "image_file_b64"
"""Name of the field that holds the photo in base64."""
MAX_BYTES_WITHOUT_PHOTO = 64 * 1024
"""Maximum bytes of a body, its photo not counted."""
MAX_FIELDS = 64
"""Maximum number of fields of an urlencoded form."""

FieldsAndPhoto = tuple[dict[str, str], bytes]
"""The text fields of a body by name, and its photo in base64; empty bytes without a photo."""

_JSON_PHOTO_START = re.compile(rb'(?<!\\)"image_file_b64"\s*:\s*"')
_FORM_PHOTO_START = re.compile(rb"(?:\A|&)image_file_b64=")

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


def parse_json(body: bytes) -> FieldsAndPhoto:
    """Parses a JSON object, and returns its members as text and the photo in base64.

    Raises MalformedBody for invalid JSON, BodyTooLarge if the part besides the photo is too large,
    and BadParameter for an invalid member.
    """
    photo, rest = _split_photo(body, _JSON_PHOTO_START, b'"')
    if photo.endswith(b"\\"):  # the closing quote was escaped: the value holds a quote
        raise _invalid_base64()
    try:
        document = json.loads(rest, object_pairs_hook=unique_values)
    except (ValueError, RecursionError):
        raise MalformedBody("The body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise MalformedBody("The body is not a JSON object.")
    fields = {name: _to_text(name, value) for name, value in document.items() if value is not None}
    return _check_fields(fields, _unescape(photo, _JSON_ESCAPES))


def parse_form(body: bytes) -> FieldsAndPhoto:
    """Parses an urlencoded form, and returns its fields and the photo in base64.

    Raises MalformedBody for an invalid form, BodyTooLarge if the part besides the photo is too
    large, and BadParameter for an invalid field.
    """
    photo, rest = _split_photo(body, _FORM_PHOTO_START, b"&")
    count = rest.count(b"&") + 1
    if count > MAX_FIELDS:
        raise MalformedBody("The form has too many fields.", limit=MAX_FIELDS, actual=count)
    try:
        pairs = parse_qsl(rest.decode(), keep_blank_values=True, errors="strict")
    except ValueError:
        raise MalformedBody("The body is not a valid form.") from None
    # Form decoders turn `+` into a space. Base64 has no spaces, so this one was a `+`.
    photo = _unescape(photo, _FORM_ESCAPES).replace(b" ", b"+")
    return _check_fields(unique_values(pairs), photo)


def decode_base64(text: bytes, limit: int) -> bytes:
    """Returns the bytes of a photo that `text` holds in base64 or as a base64 data URL.

    Raises BadParameter for invalid base64, and BodyTooLarge for more than `limit` bytes.
    """
    if text.startswith(b"data:"):
        text = text.partition(b",")[2]
    try:
        data = base64.b64decode(text.translate(None, _SPACE), validate=True)
    except binascii.Error:
        raise _invalid_base64() from None
    if len(data) > limit:
        raise BodyTooLarge(f"{IMAGE_BASE64} has too many bytes.", limit=limit, actual=len(data))
    return data


def _split_photo(body: bytes, start: re.Pattern[bytes], end: bytes) -> tuple[bytes, bytes]:
    """Cuts the photo out of a body; returns its text, still escaped, and the rest of the body.

    The photo begins after the match of `start` and ends before the byte `end`. Only the first
    `MAX_BYTES_WITHOUT_PHOTO` bytes are searched for its start, because those before it count as
    rest. Raises BodyTooLarge if the rest is larger.
    """
    match = start.search(body, 0, MAX_BYTES_WITHOUT_PHOTO)
    first = match.end() if match else len(body)
    last = body.find(end, first)
    last = len(body) if last < 0 else last
    rest_bytes = first + len(body) - last
    if rest_bytes > MAX_BYTES_WITHOUT_PHOTO:
        raise BodyTooLarge(
            f"The body without {IMAGE_BASE64} has too many bytes.",
            limit=MAX_BYTES_WITHOUT_PHOTO,
            actual=rest_bytes,
        )
    return body[first:last], body[:first] + body[last:]


def _unescape(text: bytes, escapes: Mapping[bytes, bytes]) -> bytes:
    for escape, character in escapes.items():
        text = text.replace(escape, character)
    return text


def _check_fields(fields: dict[str, str], photo: bytes) -> FieldsAndPhoto:
    """Checks the length of every text field, and returns the fields and the photo.

    If the body spelled the photo's name with escapes, the photo is still among the fields and is
    taken from there. Raises BadParameter for a text of more than `MAX_TEXT_BYTES`.
    """
    text = fields.pop(IMAGE_BASE64, "")
    for name, value in fields.items():
        size = len(value.encode(errors="replace"))
        if size > MAX_TEXT_BYTES:
            raise BadParameter(
                f"{_echoed(name)}: has too many bytes", limit=MAX_TEXT_BYTES, actual=size
            )
    return fields, photo or text.encode("ascii", "replace")


def _to_text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise BadParameter(f"{_echoed(name)}: must be a string, a number, true or false")


def _echoed(name: str) -> str:
    return name[:MAX_ECHOED_NAME_CHARS]


def _invalid_base64() -> BadParameter:
    return BadParameter(f"{IMAGE_BASE64}: is not base64")
