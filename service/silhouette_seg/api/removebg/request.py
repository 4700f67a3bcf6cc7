"""A body of any of the three kinds that remove.bg takes becomes uploads and parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from silhouette_seg.admission.body_memory import Reserve
from silhouette_seg.api.media_types import FORM_DATA, JSON, URLENCODED, media_type_of
from silhouette_seg.api.removebg.bodies import (
    BASE64,
    MAX_BESIDES_BYTES,
    from_base64,
    once,
    read_form,
    read_json,
)
from silhouette_seg.api.request.body import read_body
from silhouette_seg.api.request.body import read_form as read_parts
from silhouette_seg.api.request.multipart import MultipartReader, Part
from silhouette_seg.api.request.uploads import UploadLimits, is_empty_file_input
from silhouette_seg.errors import AmbiguousSource, BadParameter, MissingImage, UnsupportedMediaType
from silhouette_seg.runtime.thread_pool import ThreadPool

FILE = "image_file"
BACKGROUND = "bg_image_file"
FILES = (FILE, BACKGROUND, BASE64)


@dataclass(frozen=True, slots=True)
class RemovebgIntake:
    image: bytes
    background: bytes | None
    fields: dict[str, str]


async def read_removebg(
    request: Request, limits: UploadLimits, reserve: Reserve, workers: ThreadPool
) -> RemovebgIntake:
    """Reads the whole body; base64 may be longer than the image by its nature.

    Raises what `read_body` and `read_form` raise, and BadParameter for base64 that is none.
    """
    kind = media_type_of(request.headers.get("content-type", ""))
    if kind not in (FORM_DATA, JSON, URLENCODED):
        raise UnsupportedMediaType(f"Send {FORM_DATA}, {JSON} or {URLENCODED}.")
    if kind == FORM_DATA:
        parts = await _read_multipart(request, limits, reserve)
        return await workers.run_in_thread(from_parts, parts, limits.image_bytes)
    body = await read_body(
        request,
        kind,
        max_bytes=_in_base64(limits.image_bytes),
        timeout_s=limits.read_timeout_s,
        reserve=reserve,
    )
    return await workers.run_in_thread(from_text, kind, body, limits.image_bytes)


def from_text(kind: str, body: bytes, image_bytes: int) -> RemovebgIntake:
    """Of a body that is JSON or URLENCODED; the photo has at most `image_bytes`.

    Takes at most about three times the memory of the body, whatever is in it. Raises as
    `read_removebg` does.
    """
    fields, encoded = read_json(body) if kind == JSON else read_form(body)
    return _sorted([], None, encoded, fields, image_bytes)


def from_parts(parts: Sequence[Part], image_bytes: int) -> RemovebgIntake:
    """Of a form whose parts are within their limits."""
    fields = once((part.name, part.text()) for part in parts if part.name not in FILES)
    images, backgrounds, encoded = (
        [part for part in parts if part.name == name and not is_empty_file_input(part)]
        for name in FILES
    )
    if len(backgrounds) > 1:
        raise BadParameter(f"bg: {BACKGROUND} is given twice")
    if len(encoded) > 1:
        raise BadParameter(f"{BASE64}: is given twice")
    return _sorted(
        images,
        backgrounds[0].data() if backgrounds else None,
        encoded[0].data() if encoded else b"",
        fields,
        image_bytes,
    )


async def _read_multipart(request: Request, limits: UploadLimits, reserve: Reserve) -> list[Part]:
    image_bytes, in_base64 = limits.image_bytes, _in_base64(limits.image_bytes)
    reader = MultipartReader(
        request.headers["content-type"],
        max_file_bytes={FILE: image_bytes, BACKGROUND: image_bytes, BASE64: in_base64},
    )
    return await read_parts(
        request,
        reader,
        max_bytes=limits.form_bytes + in_base64,
        timeout_s=limits.read_timeout_s,
        reserve=reserve,
    )


def _sorted(
    images: Sequence[Part],
    background: bytes | None,
    encoded: bytes,
    fields: dict[str, str],
    image_bytes: int,
) -> RemovebgIntake:
    by_address = bool(fields.get("image_url"))
    if len(images) + bool(encoded) + by_address > 1:
        raise AmbiguousSource(f"Send one of {FILE}, {BASE64} and image_url.")
    if encoded:
        return RemovebgIntake(from_base64(encoded, image_bytes), background, fields)
    if not images and not by_address:
        raise MissingImage(f"Send the image as {FILE} or {BASE64}.")
    image = images[0].data() if images else b""
    if images and not image:
        raise MissingImage(f"{FILE} is empty.")
    return RemovebgIntake(image, background, fields)


def _in_base64(size: int) -> int:
    """Bytes that so many may take in base64 whose `+`, `/` and `=` are escaped, and the rest."""
    return size * 3 // 2 + MAX_BESIDES_BYTES
