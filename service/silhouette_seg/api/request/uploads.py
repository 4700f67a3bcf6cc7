"""A request body becomes uploads and fields: in memory, within byte limits and a deadline."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request

from silhouette_seg.admission.body_memory import Reserve
from silhouette_seg.api.request.multipart import MAX_PARTS, MAX_TEXT_BYTES, MultipartReader, Part
from silhouette_seg.errors import (
    AmbiguousSource,
    BodyTooLarge,
    BodyTooSlow,
    MalformedBody,
    MissingImage,
    TooManyImages,
    UnsupportedImageType,
    UnsupportedMediaType,
)

FORM = "multipart/form-data"
IMAGE_FIELDS = ("image", "image_file", "file")
BACKGROUND_FIELD = "background_image"
FILE_FIELDS = (*IMAGE_FIELDS, BACKGROUND_FIELD)
HOW_TO_SEND = (
    "Send the image as the body with Content-Type: image/jpeg, image/png or image/webp, or as "
    "the field `image` of multipart/form-data."
)


@dataclass(frozen=True, slots=True)
class UploadedImage:
    """One image file as it was sent; `digest` is the sha256 of its bytes."""

    data: bytes
    digest: str
    filename: str = ""
    """As the client wrote it: anything at all."""


@dataclass(frozen=True, slots=True)
class PhotoUpload:
    image: UploadedImage
    background: UploadedImage | None = None
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class BatchUpload:
    """At least one image, in the order in which they were sent; an image may be empty."""

    images: tuple[UploadedImage, ...]
    background: UploadedImage | None = None
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """`image_bytes` bounds each image; the parts around it add little."""

    image_bytes: int
    read_timeout_s: float

    @property
    def form_bytes(self) -> int:
        return 2 * self.image_bytes + MAX_PARTS * 2 * MAX_TEXT_BYTES


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """`form_bytes` bounds the whole body of a batch, `image_bytes` each image in it."""

    images: int
    form_bytes: int
    image_bytes: int
    read_timeout_s: float
    at_once: int
    """How many images of one batch may be in work."""

    @property
    def parts(self) -> int:
        return self.images + MAX_PARTS


async def read_photo_upload(
    request: Request, limits: UploadLimits, reserve: Reserve
) -> PhotoUpload:
    """Reads the whole body; `reserve` is told of every piece before it is kept.

    Raises BodyTooLarge at once for a Content-Length over the limit, and while reading for one
    that lied; BodyTooSlow after `read_timeout_s`; MissingImage, AmbiguousSource, MalformedBody,
    BadParameter, UnsupportedImageType. starlette's ClientDisconnect passes through.
    """
    content_type = request.headers.get("content-type", "")
    if _is_form(request.headers, content_type):
        reader = MultipartReader(content_type, files=dict.fromkeys(FILE_FIELDS, limits.image_bytes))
        parts = await read_form(
            request,
            reader,
            limit=limits.form_bytes,
            timeout_s=limits.read_timeout_s,
            reserve=reserve,
        )
        return _sort(parts)
    _check_declared_length(request.headers, limits.image_bytes)
    async with _in_time(limits.read_timeout_s):
        return PhotoUpload(await _read_raw(_pieces(request, limits.image_bytes, reserve)))


async def read_batch_upload(request: Request, limits: BatchLimits, reserve: Reserve) -> BatchUpload:
    """As `read_photo_upload`, for a form of many images.

    Raises TooManyImages when one too many begins, and UnsupportedMediaType for what is no form.
    """
    content_type = request.headers.get("content-type", "")
    _check_encoding(request.headers)
    if media_type_of(content_type) != FORM:
        raise UnsupportedMediaType("A batch is multipart/form-data with fields `image`.")

    def count(parts: Sequence[Part]) -> None:
        images = sum(part.name in IMAGE_FIELDS for part in parts)
        if images > limits.images:
            raise TooManyImages(
                f"A batch has at most {limits.images} images.", limit=limits.images, actual=images
            )

    files = dict.fromkeys(FILE_FIELDS, limits.image_bytes)
    reader = MultipartReader(content_type, files=files, max_parts=limits.parts, watch=count)
    parts = await read_form(
        request, reader, limit=limits.form_bytes, timeout_s=limits.read_timeout_s, reserve=reserve
    )
    return _sort_batch(parts)


async def read_form(
    request: Request, reader: MultipartReader, *, limit: int, timeout_s: float, reserve: Reserve
) -> list[Part]:
    """All parts of a body of at most `limit` bytes. Raises as `read_photo_upload` does."""
    _check_declared_length(request.headers, limit)
    async with _in_time(timeout_s):
        return await _read_form(reader, _pieces(request, limit, reserve))


@asynccontextmanager
async def _in_time(timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise BodyTooSlow("The body was not complete in time.", limit=timeout_s) from None


def _check_encoding(headers: Headers) -> None:
    """Raises for an empty or a compressed body, before reading any of it."""
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        raise MissingImage(f"The body is empty. {HOW_TO_SEND}")
    if headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedImageType("A compressed body (Content-Encoding) is not read.")


def media_type_of(content_type: str) -> str:
    """The media type alone."""
    return content_type.partition(";")[0].strip().lower()


def _is_form(headers: Headers, content_type: str) -> bool:
    """Raises for a body that is neither a form nor an image, before reading any of it."""
    _check_encoding(headers)
    kind = media_type_of(content_type)
    if kind == FORM:
        return True
    if kind.startswith("multipart/"):
        raise MalformedBody("Of the multipart types only multipart/form-data is read.")
    if not kind.startswith("image/"):
        raise UnsupportedImageType(f"Content-Type is {kind or 'missing'!r}. {HOW_TO_SEND}")
    return False


def _check_declared_length(headers: Headers, limit: int) -> None:
    declared = headers.get("content-length")
    if declared is None:
        return
    if not (declared.isascii() and declared.isdigit() and len(declared) < 20):
        raise MalformedBody("Content-Length is not a number.")
    if int(declared) > limit:
        raise _too_large(limit, int(declared))


async def _pieces(request: Request, limit: int, reserve: Reserve) -> AsyncIterator[bytes]:
    """The body as it arrives, refused as soon as it is longer than `limit`."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise _too_large(limit, size)
        reserve(len(piece))
        yield piece


async def _read_raw(pieces: AsyncIterator[bytes]) -> UploadedImage:
    kept: list[bytes] = []
    sha256 = hashlib.sha256()
    async for piece in pieces:
        kept.append(piece)
        sha256.update(piece)
    data = b"".join(kept)
    if not data:
        raise MissingImage(f"The body is empty. {HOW_TO_SEND}")
    return UploadedImage(data, sha256.hexdigest())


async def _read_form(reader: MultipartReader, pieces: AsyncIterator[bytes]) -> list[Part]:
    async for piece in pieces:
        reader.feed(piece)
    return reader.close()


def _sort(parts: Sequence[Part]) -> PhotoUpload:
    image = _single(_files(parts, IMAGE_FIELDS), "image")
    if image is None:
        raise MissingImage(f"The form has no image. {HOW_TO_SEND}")
    return PhotoUpload(image, _background(parts), _texts(parts))


def _sort_batch(parts: Sequence[Part]) -> BatchUpload:
    images = tuple(_upload(part) for part in _files(parts, IMAGE_FIELDS))
    if not images:
        raise MissingImage("The form has no image; each is a field `image`.")
    return BatchUpload(images, _background(parts), _texts(parts))


def _files(parts: Sequence[Part], names: Sequence[str]) -> list[Part]:
    return [part for part in parts if part.name in names and not is_empty_file_input(part)]


def _background(parts: Sequence[Part]) -> UploadedImage | None:
    return _single(_files(parts, (BACKGROUND_FIELD,)), BACKGROUND_FIELD)


def _texts(parts: Sequence[Part]) -> tuple[tuple[str, str], ...]:
    return tuple((part.name, part.text()) for part in parts if not part.is_file)


def is_empty_file_input(part: Part) -> bool:
    """What a browser sends for a file input in which nothing was chosen."""
    return not part.size and not part.filename


def _single(parts: Sequence[Part], what: str) -> UploadedImage | None:
    if len(parts) > 1:
        names = ", ".join(part.name for part in parts)
        raise AmbiguousSource(f"Send exactly one {what}; there are {len(parts)}: {names}.")
    if not parts:
        return None
    if not parts[0].size:
        raise MissingImage(f"{parts[0].name} is empty.")
    return _upload(parts[0])


def _upload(part: Part) -> UploadedImage:
    return UploadedImage(part.data(), part.hash.hexdigest(), part.filename or "")


def _too_large(limit: int, actual: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body has more than {limit} bytes.", limit=limit, actual=actual)
