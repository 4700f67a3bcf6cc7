"""Reads the body of `POST /v1.0/removebg`: multipart form, urlencoded form or JSON."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from silhouette_seg.admission.body_memory import Reserve
from silhouette_seg.api.media_types import FORM_DATA, JSON, URLENCODED, media_type_of
from silhouette_seg.api.removebg.parameters import FIELDS
from silhouette_seg.api.request.base64_bodies import (
    decode_base64,
    max_encoded_bytes,
    parse_form,
    parse_json,
)
from silhouette_seg.api.request.body import read_body, read_form
from silhouette_seg.api.request.multipart import MultipartReader, Part
from silhouette_seg.api.request.parameters import unique_values
from silhouette_seg.api.request.uploads import (
    UploadedImage,
    UploadLimits,
    is_empty_file_input,
    reject_misnamed_file,
    uploaded,
)
from silhouette_seg.errors import AmbiguousSource, BadParameter, MissingImage, UnsupportedMediaType
from silhouette_seg.runtime.thread_pool import ThreadPool

IMAGE_FILE = "image_file"
BACKGROUND_FILE = "bg_image_file"
IMAGE_BASE64 = "image_file_b64"
"""Name of the field that holds the photo in base64."""
FILE_FIELDS = (IMAGE_FILE, BACKGROUND_FILE, IMAGE_BASE64)


@dataclass(frozen=True, slots=True)
class RemovebgUpload:
    """Photo, background image and text fields of one request."""

    image: UploadedImage
    """The photo as it was sent; empty if `image_url` takes its place."""
    background: UploadedImage | None
    fields: dict[str, str]


async def read_removebg_upload(
    request: Request, limits: UploadLimits, reserve: Reserve, pool: ThreadPool
) -> RemovebgUpload:
    """Reads and parses the whole body of a request; base64 is decoded in `pool`.

    `limits` bound the decoded photo; its base64 may be longer. Raises UnsupportedMediaType for
    another Content-Type, MissingImage, AmbiguousSource, BadParameter for an invalid field, and the
    errors of `read_form` and `read_body`.
    """
    kind = media_type_of(request.headers.get("content-type", ""))
    if kind not in (FORM_DATA, JSON, URLENCODED):
        raise UnsupportedMediaType(f"Send {FORM_DATA}, {JSON} or {URLENCODED}.")
    if kind == FORM_DATA:
        parts = await _read_multipart(request, limits, reserve)
        return await pool.run_in_thread(parse_multipart, parts, limits.image_bytes)
    body = await read_body(
        request,
        kind,
        max_bytes=max_encoded_bytes(limits.image_bytes),
        timeout_s=limits.read_timeout_s,
        reserve=reserve,
    )
    return await pool.run_in_thread(parse_text_body, kind, body, limits.image_bytes)


def parse_text_body(kind: str, body: bytes, image_bytes: int) -> RemovebgUpload:
    """Parses a JSON or urlencoded body, as its media type `kind` says.

    The decoded photo has at most `image_bytes`. The memory used is at most about three times the
    body, for any content. Raises the errors of `read_removebg_upload`.
    """
    parse = parse_json if kind == JSON else parse_form
    text = parse(body, (IMAGE_BASE64,))
    encoded = text.photos.get(IMAGE_BASE64, b"")
    return _select_source([], None, encoded, text.fields, image_bytes)


def parse_multipart(parts: Sequence[Part], image_bytes: int) -> RemovebgUpload:
    """Returns the files and fields of a multipart form; a photo in base64 is decoded.

    The parts are within their limits, and the decoded photo has at most `image_bytes`. Raises
    AmbiguousSource, MissingImage, BodyTooLarge, or BadParameter for a repeated field.
    """
    fields = unique_values(
        (part.name, part.text()) for part in parts if part.name not in FILE_FIELDS
    )
    images, backgrounds, encoded = (
        [part for part in parts if part.name == name and not is_empty_file_input(part)]
        for name in FILE_FIELDS
    )
    if len(backgrounds) > 1:
        raise BadParameter(f"bg: {BACKGROUND_FILE} is given twice")
    if len(encoded) > 1:
        raise BadParameter(f"{IMAGE_BASE64}: is given twice")
    return _select_source(
        images,
        uploaded(backgrounds[0]) if backgrounds else None,
        encoded[0].data() if encoded else b"",
        fields,
        image_bytes,
    )


async def _read_multipart(request: Request, limits: UploadLimits, reserve: Reserve) -> list[Part]:
    image_bytes, encoded_bytes = limits.image_bytes, max_encoded_bytes(limits.image_bytes)
    reader = MultipartReader(
        request.headers["content-type"],
        max_file_bytes={
            IMAGE_FILE: image_bytes,
            BACKGROUND_FILE: image_bytes,
            IMAGE_BASE64: encoded_bytes,
        },
        on_part=lambda parts: reject_misnamed_file(parts, FIELDS, IMAGE_FILE),
    )
    return await read_form(
        request,
        reader,
        max_bytes=limits.form_bytes + encoded_bytes,
        timeout_s=limits.read_timeout_s,
        reserve=reserve,
    )


def _select_source(
    images: Sequence[Part],
    background: UploadedImage | None,
    encoded: bytes,
    fields: dict[str, str],
    image_bytes: int,
) -> RemovebgUpload:
    """Returns the upload with its only photo, decoded if it is in base64.

    Raises AmbiguousSource for several photos, and MissingImage without one.
    """
    has_url = bool(fields.get("image_url"))
    if len(images) + bool(encoded) + has_url > 1:
        raise AmbiguousSource(f"Send one of {IMAGE_FILE}, {IMAGE_BASE64} and image_url.")
    if encoded:
        photo = decode_base64(IMAGE_BASE64, encoded, image_bytes)
        return RemovebgUpload(UploadedImage(photo, digest=""), background, fields)
    if not images and not has_url:
        raise MissingImage(f"Send the image as {IMAGE_FILE} or {IMAGE_BASE64}.")
    image = uploaded(images[0]) if images else UploadedImage(b"", digest="")
    if images and not image.data:
        raise MissingImage(f"{IMAGE_FILE} is empty.")
    return RemovebgUpload(image, background, fields)
