"""JSON and urlencoded bodies, in which one value may be a whole photo in base64.

General parsers take many times the memory of a body, and let no other thread run until they are
done: the photo is cut out first, and they see the little that is left.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from silhouette_seg.api.request.multipart import MAX_TEXT_BYTES
from silhouette_seg.errors import BadParameter, BodyTooLarge, MalformedBody

BASE64 = "image_file_b64"
MAX_BESIDES_BYTES = 64 * 1024
"""Of a body, the photo not counted."""
MAX_FIELDS = 64
MAX_NAME = 80
"""Characters of a name that somebody sent, when it is told back."""

Read = tuple[dict[str, str], bytes]
"""The texts by their names, and the photo in base64; empty for none."""

_IN_JSON = re.compile(rb'(?<!\\)"image_file_b64"\s*:\s*"')
_IN_FORM = re.compile(rb"(?:\A|&)image_file_b64=")

_SPACE = b" \t\r\n"
_JSON_ESCAPES = {
    **{rb"\/": b"/", rb"\n": b"\n", rb"\r": b"\r", rb"\t": b"\t"},
    **{
        b"\\u" + number: b"%c" % int(number, 16)
        for number in (b"002b", b"002B", b"002f", b"002F", b"003d", b"003D")
    },
}
"""What encoders of JSON write for what is in base64."""
_FORM_ESCAPES = {
    (spelling % code).encode(): b"%c" % code
    for code in b"+/=:;," + _SPACE
    for spelling in ("%%%02X", "%%%02x")
}
"""Of base64, and of what a data URL begins with."""


def read_json(body: bytes) -> Read:
    """Raises MalformedBody, BodyTooLarge and BadParameter."""
    written, besides = _cut(body, _IN_JSON, b'"')
    if written.endswith(b"\\"):  # there is a quote in it
        raise _no_base64()
    try:
        document = json.loads(besides, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise MalformedBody("The body is no JSON.") from None
    if not isinstance(document, dict):
        raise MalformedBody("The body is no JSON object.")
    fields = {name: _text(name, value) for name, value in document.items() if value is not None}
    return _joined(fields, _unescaped(written, _JSON_ESCAPES))


def read_form(body: bytes) -> Read:
    """Raises MalformedBody, BodyTooLarge and BadParameter."""
    written, besides = _cut(body, _IN_FORM, b"&")
    count = besides.count(b"&") + 1
    if count > MAX_FIELDS:
        raise MalformedBody("The form has too many fields.", limit=MAX_FIELDS, actual=count)
    try:
        pairs = parse_qsl(besides.decode(), keep_blank_values=True, errors="strict")
    except ValueError:
        raise MalformedBody("The body is no form.") from None
    # A space is a `+` that some other form has made one.
    return _joined(once(pairs), _unescaped(written, _FORM_ESCAPES).replace(b" ", b"+"))


def from_base64(text: bytes, limit: int) -> bytes:
    """Raises BadParameter and BodyTooLarge. A data URL is taken for what is in it."""
    if text.startswith(b"data:"):
        text = text.partition(b",")[2]
    try:
        data = base64.b64decode(text.translate(None, _SPACE), validate=True)
    except binascii.Error:
        raise _no_base64() from None
    if len(data) > limit:
        raise BodyTooLarge(f"{BASE64} has too many bytes.", limit=limit, actual=len(data))
    return data


def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Raises BadParameter for a name that comes again."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise BadParameter(f"{name[:MAX_NAME]}: is given twice")
        fields[name] = value
    return fields


def _cut(body: bytes, begins: re.Pattern[bytes], end: bytes) -> tuple[bytes, bytes]:
    """The photo as it is written, and the body with nothing in its place.

    What is before the photo is besides it, too: it begins early, or not at all.
    """
    found = begins.search(body, 0, MAX_BESIDES_BYTES)
    start = found.end() if found else len(body)
    stop = body.find(end, start)
    stop = len(body) if stop < 0 else stop
    besides = start + len(body) - stop
    if besides > MAX_BESIDES_BYTES:
        raise BodyTooLarge(
            f"Besides {BASE64} the body has too many bytes.",
            limit=MAX_BESIDES_BYTES,
            actual=besides,
        )
    return body[start:stop], body[:start] + body[stop:]


def _unescaped(text: bytes, escapes: Mapping[bytes, bytes]) -> bytes:
    for escape, character in escapes.items():
        text = text.replace(escape, character)
    return text


def _joined(fields: dict[str, str], photo: bytes) -> Read:
    """A small photo whose name was escaped is among the texts."""
    text = fields.pop(BASE64, "")
    for name, value in fields.items():
        size = len(value.encode(errors="replace"))
        if size > MAX_TEXT_BYTES:
            raise BadParameter(
                f"{name[:MAX_NAME]}: has too many bytes", limit=MAX_TEXT_BYTES, actual=size
            )
    return fields, photo or text.encode("ascii", "replace")


def _text(name: str, value: Any) -> str:  # noqa: ANN401  # whatever JSON holds
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise BadParameter(f"{name[:MAX_NAME]}: is neither text, nor a number, nor true or false")


def _no_base64() -> BadParameter:
    return BadParameter(f"{BASE64}: is not base64")
