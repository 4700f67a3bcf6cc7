"""A body of any of the three kinds that remove.bg takes becomes uploads and parameters."""

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from service.errors import (
    AmbiguousSource,
    BadParameter,
    BodyTooLarge,
    MalformedBody,
    MissingImage,
    UnsupportedMediaType,
)
from service.routes.body import read_body
from service.routes.intake import FORM, IntakeLimits, Take, is_empty_choice, kind_of, read_form
from service.routes.multipart import MAX_TEXT_BYTES, MultipartReader, Part
from service.workers import Workers

JSON = "application/json"
URLENCODED = "application/x-www-form-urlencoded"
FILE = "image_file"
BASE64 = "image_file_b64"
BACKGROUND = "bg_image_file"
MAX_FIELDS = 64

Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RemovebgIntake:
    image: bytes
    background: bytes | None
    fields: dict[str, str]


async def read_removebg(
    request: Request, limits: IntakeLimits, take: Take, workers: Workers
) -> RemovebgIntake:
    """Reads the whole body; base64 may be longer than the image by its nature.

    Raises as `read_intake` and `read_body` do, and BadParameter for base64 that is none.
    """
    content_type = request.headers.get("content-type", "")
    kind = kind_of(content_type)
    if kind == FORM:
        return await _read_multipart(request, content_type, limits, take, workers)
    if kind not in (JSON, URLENCODED):
        raise UnsupportedMediaType(f"Send {FORM}, {JSON} or {URLENCODED}.")
    body = await read_body(
        request,
        kind,
        limit=_in_base64(limits.image_bytes),
        timeout_s=limits.read_timeout_s,
        take=take,
    )
    pairs = await workers.run(_json_fields if kind == JSON else _urlencoded_fields, body)
    return await _sorted([], None, _once(pairs), limits, workers)


async def _read_multipart(
    request: Request, content_type: str, limits: IntakeLimits, take: Take, workers: Workers
) -> RemovebgIntake:
    image_bytes, in_base64 = limits.image_bytes, _in_base64(limits.image_bytes)
    reader = MultipartReader(
        content_type, files={FILE: image_bytes, BACKGROUND: image_bytes, BASE64: in_base64}
    )
    parts = await read_form(
        request,
        reader,
        limit=limits.form_bytes + in_base64,
        timeout_s=limits.read_timeout_s,
        take=take,
    )
    files = (FILE, BACKGROUND)
    fields = _once((part.name, part.text()) for part in parts if part.name not in files)
    chosen = [part for part in parts if part.name in files and not is_empty_choice(part)]
    backgrounds = [part for part in chosen if part.name == BACKGROUND]
    if len(backgrounds) > 1:
        raise BadParameter(f"bg: {BACKGROUND} is given twice")
    background = backgrounds[0].data() if backgrounds else None
    images = [part for part in chosen if part.name == FILE]
    return await _sorted(images, background, fields, limits, workers)


async def _sorted(
    images: list[Part],
    background: bytes | None,
    fields: dict[str, str],
    limits: IntakeLimits,
    workers: Workers,
) -> RemovebgIntake:
    encoded = fields.pop(BASE64, "")
    sources = len(images) + bool(encoded) + bool(fields.get("image_url"))
    if sources > 1:
        raise AmbiguousSource(f"Send one of {FILE}, {BASE64} and image_url.")
    if encoded:
        image = await workers.run(_from_base64, encoded, limits.image_bytes)
        return RemovebgIntake(image, background, fields)
    if not images and not fields.get("image_url"):
        raise MissingImage(f"Send the image as {FILE} or {BASE64}.")
    image = images[0].data() if images else b""
    if images and not image:
        raise MissingImage(f"{FILE} is empty.")
    return RemovebgIntake(image, background, fields)


def _in_base64(size: int) -> int:
    """Bytes that so many may take in base64 whose `+`, `/` and `=` are escaped, and the rest."""
    return size * 3 // 2 + MAX_FIELDS * 2 * MAX_TEXT_BYTES


def _json_fields(body: bytes) -> Fields:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedBody("The body is no JSON.") from None
    if not isinstance(document, dict):
        raise MalformedBody("The body is no JSON object.")
    return [(name, _text(name, value)) for name, value in document.items() if value is not None]


def _text(name: str, value: Any) -> str:  # noqa: ANN401  # whatever JSON holds
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise BadParameter(f"{name}: is neither text, nor a number, nor true or false")


def _urlencoded_fields(body: bytes) -> Fields:
    try:
        return parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise MalformedBody("The body is no form.") from None


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise BadParameter(f"{name[:80]}: is given twice")
        fields[name] = value
    return fields


def _from_base64(text: str, limit: int) -> bytes:
    """Raises BadParameter and BodyTooLarge. A data URL is taken for what is in it."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    # A `+` that was not escaped in a form has become a space there.
    try:
        data = base64.b64decode("".join(text.replace(" ", "+").split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadParameter(f"{BASE64}: is not base64") from None
    if len(data) > limit:
        raise BodyTooLarge(f"{BASE64} has more than {limit} bytes.", limit=limit, actual=len(data))
    return data
