"""Reads request bodies into uploaded images and text fields, in memory and within limits."""

import hashlib
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from starlette.datastructures import Headers
from starlette.requests import Request

from silhouette_seg.admission.body_memory import Reserve
from silhouette_seg.api.media_types import (
    FORM_DATA,
    JSON,
    OCTET_STREAM,
    URLENCODED,
    media_type_of,
)
from silhouette_seg.api.request.base64_bodies import decode_base64, max_encoded_bytes, parse_json
from silhouette_seg.api.request.body import consume_body, read_body, read_form
from silhouette_seg.api.request.multipart import (
    MAX_PARTS,
    MAX_TEXT_BYTES,
    MultipartReader,
    Part,
)
from silhouette_seg.api.request.parameters import (
    BACKGROUND_IMAGE,
    MAX_NAME_CHARS,
    NO_URLS,
    PARAMETERS,
    URL_FIELDS,
)
from silhouette_seg.errors import (
    AmbiguousSource,
    BadParameter,
    MalformedBody,
    MissingImage,
    TooManyImages,
    UnsupportedImageType,
    UnsupportedMediaType,
)
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.vision.codec.decode import read_header

IMAGE_FIELDS = ("image", "image_file", "file")
FILE_FIELDS = (*IMAGE_FIELDS, BACKGROUND_IMAGE)
HOW_TO_SEND = (
    "Send the image as the body with a Content-Type of images, such as image/jpeg, as the field "
    "`image` of multipart/form-data, or in base64 as the member `image` of application/json."
)
UNDECLARED_TYPES = ("", OCTET_STREAM, URLENCODED)
"""Content-Types of a photo as the body, besides those of images.

HTTP libraries send them for raw bytes, and curl's `--data-binary` sends that of a form.
"""


class BodyKind(Enum):
    """Ways to send a photo; each value says how, for error messages."""

    FORM = "a form, multipart/form-data, with the photo as the field `image`"
    JSON = "a JSON object, application/json, with the photo in base64 as the member `image`"
    BINARY = "the bytes of the photo, with a Content-Type of images or application/octet-stream"


@dataclass(frozen=True, slots=True)
class UploadedImage:
    """The bytes of one image file as the client sent them."""

    data: bytes
    digest: str
    """SHA-256 of `data` in hexadecimal digits."""
    filename: str = ""
    """File name that the client sent, unchecked; empty if it sent none."""
    text_field: str = ""
    """Name of the form field if it is a short text without a file name, else empty."""


@dataclass(frozen=True, slots=True)
class PhotoUpload:
    """Content of a request for one photo: its file, a background image and the text fields."""

    image: UploadedImage
    background: UploadedImage | None = None
    fields: tuple[tuple[str, str], ...] = ()
    """Names and values of all text fields, in order."""


@dataclass(frozen=True, slots=True)
class BatchUpload:
    """Content of a request for many photos: their files, a background image and the text fields.

    `images` has at least one file, in the order of the form. A file may be empty.
    """

    images: tuple[UploadedImage, ...]
    background: UploadedImage | None = None
    fields: tuple[tuple[str, str], ...] = ()
    """Names and values of all text fields, in order."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Size and time limits of a request for one photo."""

    image_bytes: int
    """Maximum bytes of the photo, and of the background image."""
    read_timeout_s: float
    """Maximum seconds until the last byte of the body has arrived."""

    @property
    def form_bytes(self) -> int:
        """Maximum bytes of a whole form: both images, the text parts and the part headers."""
        return 2 * self.image_bytes + MAX_PARTS * 2 * MAX_TEXT_BYTES

    @property
    def json_bytes(self) -> int:
        """Maximum bytes of a whole JSON body: both images in base64, and the other members."""
        return max_encoded_bytes(2 * self.image_bytes)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Size and time limits of a request for many photos, at most `images`."""

    images: int
    form_bytes: int
    """Maximum bytes of the whole body."""
    image_bytes: int
    """Maximum bytes of each image in the body."""
    read_timeout_s: float
    """Maximum seconds until the last byte of the body has arrived."""
    concurrency: int
    """Number of photos of one request that are processed at the same time."""

    @property
    def parts(self) -> int:
        """Maximum number of parts of the form: the images and other fields."""
        return self.images + MAX_PARTS


async def read_photo_upload(
    request: Request,
    limits: UploadLimits,
    reserve: Reserve,
    pool: ThreadPool,
    *,
    only: BodyKind | None = None,
) -> PhotoUpload:
    """Reads and returns the photo of a request: the whole body, a file of a form, or JSON.

    The base64 of a JSON body is decoded in `pool`. `only` is the kind of body that the route takes;
    None takes all. Raises UnsupportedMediaType for another kind, MissingImage without a photo,
    AmbiguousSource for several, and UnsupportedImageType for a Content-Type that is neither form
    nor JSON nor image. Raises MalformedBody for an invalid form or JSON, BadParameter for an
    invalid text field, and the errors of `consume_body`.
    """
    _require_body(request.headers)
    kind = _body_kind(request.headers.get("content-type", ""))
    if only not in (None, kind):
        raise UnsupportedMediaType(f"The body must be {only.value}.")
    match kind:
        case BodyKind.JSON:
            return await _read_json(request, limits, reserve, pool)
        case BodyKind.BINARY:
            return PhotoUpload(await _read_image(request, limits, reserve))
        case BodyKind.FORM:
            return await _read_photo_form(request, limits, reserve)


async def _read_photo_form(request: Request, limits: UploadLimits, reserve: Reserve) -> PhotoUpload:
    form = MultipartReader(
        request.headers["content-type"],
        max_file_bytes=dict.fromkeys(FILE_FIELDS, limits.image_bytes),
        on_part=lambda parts: reject_misnamed_file(parts, PARAMETERS, IMAGE_FIELDS[0]),
    )
    parts = await read_form(
        request,
        form,
        max_bytes=limits.form_bytes,
        timeout_s=limits.read_timeout_s,
        reserve=reserve,
    )
    return _to_photo_upload(parts)


async def read_batch_upload(request: Request, limits: BatchLimits, reserve: Reserve) -> BatchUpload:
    """Reads and returns the photos of a form.

    Raises TooManyImages as soon as the part of one photo too many begins, UnsupportedMediaType
    for a body that is not a form, and the errors of `read_photo_upload`.
    """
    _require_body(request.headers)
    content_type = request.headers.get("content-type", "")
    if media_type_of(content_type) != FORM_DATA:
        raise UnsupportedMediaType(f"A batch is {FORM_DATA} with fields `image`.")
    form = MultipartReader(
        content_type,
        max_file_bytes=dict.fromkeys(FILE_FIELDS, limits.image_bytes),
        max_parts=limits.parts,
        on_part=lambda parts: _check_image_count(parts, limits.images),
    )
    parts = await read_form(
        request,
        form,
        max_bytes=limits.form_bytes,
        timeout_s=limits.read_timeout_s,
        reserve=reserve,
    )
    return _to_batch_upload(parts)


def is_empty_file_input(part: Part) -> bool:
    """Returns True for a part without file name and content.

    Browsers send it for a file input without a chosen file.
    """
    return not part.size and not part.filename


def reject_misnamed_file(parts: Sequence[Part], known: Container[str], image_field: str) -> None:
    """Raises BadParameter if the last part is a file, but its name is no field of a file.

    `known` has the names of text fields, which some clients send with a file name. The error names
    `image_field`, the field of the photo.
    """
    part = parts[-1]
    if part.filename and not part.is_file and part.name not in known:
        raise BadParameter(
            f"{part.name[:MAX_NAME_CHARS]}: is not a field of a file; send the photo as the field "
            f"`{image_field}`"
        )


def _require_body(headers: Headers) -> None:
    """Raises MissingImage if the headers of a request show that it has no body."""
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        raise MissingImage(f"The body is empty. {HOW_TO_SEND}")


def _body_kind(content_type: str) -> BodyKind:
    """Returns the kind of body that a Content-Type names.

    Raises MalformedBody for a multipart type that is no form, and UnsupportedImageType for a type
    that neither a form nor JSON nor an image has.
    """
    media_type = media_type_of(content_type)
    if media_type == FORM_DATA:
        return BodyKind.FORM
    if media_type == JSON:
        return BodyKind.JSON
    if media_type.startswith("multipart/"):
        raise MalformedBody(f"{FORM_DATA} is the only multipart type that is supported.")
    if not media_type.startswith("image/") and media_type not in UNDECLARED_TYPES:
        raise UnsupportedImageType(f"Content-Type is {media_type or 'missing'!r}. {HOW_TO_SEND}")
    return BodyKind.BINARY


async def _read_json(
    request: Request, limits: UploadLimits, reserve: Reserve, pool: ThreadPool
) -> PhotoUpload:
    body = await read_body(
        request,
        JSON,
        max_bytes=limits.json_bytes,
        timeout_s=limits.read_timeout_s,
        reserve=reserve,
    )
    return await pool.run_in_thread(parse_json_upload, body, limits.image_bytes)


def parse_json_upload(body: bytes, image_bytes: int) -> PhotoUpload:
    """Returns the photo, background image and parameters of a JSON object. Call it in a thread.

    Each image has at most `image_bytes`. The memory used is at most about three times the body, for
    any content. Raises MissingImage, AmbiguousSource, and the errors of `parse_json` and
    `decode_base64`.
    """
    text = parse_json(body, FILE_FIELDS)
    names = [name for name in IMAGE_FIELDS if name in text.photos]
    if len(names) > 1:
        raise AmbiguousSource(
            f"Send exactly one image; there are {len(names)}: {', '.join(names)}."
        )
    if not names:
        raise MissingImage(_no_image(text.fields))

    def decode(name: str) -> UploadedImage:
        data = decode_base64(name, text.photos.pop(name), image_bytes)
        return UploadedImage(data, hashlib.sha256(data).hexdigest())

    image = decode(names[0])
    background = decode(BACKGROUND_IMAGE) if BACKGROUND_IMAGE in text.photos else None
    return PhotoUpload(image, background, tuple(text.fields.items()))


async def _read_image(request: Request, limits: UploadLimits, reserve: Reserve) -> UploadedImage:
    """Returns the image that is the whole body of a request.

    The image is hashed while it arrives: at the end the hash would stall the event loop. Raises
    MissingImage if the body is empty, and UnsupportedImageType for a body of an undeclared type
    that is not an image.
    """
    chunks: list[bytes] = []
    sha256 = hashlib.sha256()

    def consume(chunk: bytes) -> None:
        chunks.append(chunk)
        sha256.update(chunk)

    await consume_body(
        request,
        consume,
        max_bytes=limits.image_bytes,
        timeout_s=limits.read_timeout_s,
        reserve=reserve,
    )
    data = b"".join(chunks)
    if not data:
        raise MissingImage(f"The body is empty. {HOW_TO_SEND}")
    _require_image_bytes(data, media_type_of(request.headers.get("content-type", "")))
    return UploadedImage(data, sha256.hexdigest())


def _require_image_bytes(data: bytes, media_type: str) -> None:
    """Raises UnsupportedImageType for a body of an undeclared type that is not an image."""
    if media_type not in UNDECLARED_TYPES:
        return
    try:
        read_header(data)
    except UnsupportedImageType:
        raise UnsupportedImageType(
            f"Content-Type is {media_type or 'missing'!r}, and the body is not an image. "
            f"{HOW_TO_SEND}"
        ) from None


def _check_image_count(parts: Sequence[Part], max_images: int) -> None:
    reject_misnamed_file(parts, PARAMETERS, IMAGE_FIELDS[0])
    images = sum(part.name in IMAGE_FIELDS for part in parts)
    if images > max_images:
        raise TooManyImages(
            f"A batch has at most {max_images} images.", limit=max_images, actual=images
        )


def _to_photo_upload(parts: Sequence[Part]) -> PhotoUpload:
    image = _single(_files(parts, IMAGE_FIELDS), "image")
    if image is None:
        raise MissingImage(_no_image(part.name for part in parts))
    return PhotoUpload(image, _background(parts), _text_fields(parts))


def _to_batch_upload(parts: Sequence[Part]) -> BatchUpload:
    images = tuple(uploaded(part) for part in _files(parts, IMAGE_FIELDS))
    if not images:
        raise MissingImage(_no_image(part.name for part in parts))
    return BatchUpload(images, _background(parts), _text_fields(parts))


def _no_image(names: Iterable[str]) -> str:
    """Returns an error message, with advice, for a body with fields `names` but without a photo."""
    if any(name in URL_FIELDS for name in names):
        return f"The body has no image, and {NO_URLS}. {HOW_TO_SEND}"
    return f"The body has no image. {HOW_TO_SEND}"


def _files(parts: Sequence[Part], names: Sequence[str]) -> list[Part]:
    return [part for part in parts if part.name in names and not is_empty_file_input(part)]


def _background(parts: Sequence[Part]) -> UploadedImage | None:
    return _single(_files(parts, (BACKGROUND_IMAGE,)), BACKGROUND_IMAGE)


def _text_fields(parts: Sequence[Part]) -> tuple[tuple[str, str], ...]:
    return tuple((part.name, part.text()) for part in parts if not part.is_file)


def _single(parts: Sequence[Part], label: str) -> UploadedImage | None:
    """Returns the image of the only part, or None without parts.

    Raises AmbiguousSource, with `label` in the message, for several parts; MissingImage if empty.
    """
    if len(parts) > 1:
        fields = ", ".join(dict.fromkeys(part.name for part in parts))
        many = "" if label == BACKGROUND_IMAGE else " /v1/segment/batch takes many."
        count = f"there are {len(parts)}, as {fields}"
        raise AmbiguousSource(f"Send exactly one {label}; {count}.{many}")
    if parts and not parts[0].size:
        raise MissingImage(f"{parts[0].name} is empty.")
    return uploaded(parts[0]) if parts else None


def uploaded(part: Part) -> UploadedImage:
    """Returns the file of a part of a form."""
    text_field = part.name if part.is_sent_as_text() else ""
    return UploadedImage(part.data(), part.hash.hexdigest(), part.filename or "", text_field)
