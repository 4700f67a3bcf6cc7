"""A request body becomes uploads and fields: in memory, within byte limits and a deadline."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request

from service.errors import (
    AmbiguousSource,
    BodyTooLarge,
    BodyTooSlow,
    MalformedBody,
    MissingImage,
    Overloaded,
    UnsupportedImageType,
)
from service.routes.multipart import MAX_PARTS, MAX_TEXT_BYTES, MultipartReader, Part

IMAGE_FIELDS = ("image", "image_file", "file")
BACKGROUND_FIELD = "background_image"
FILE_FIELDS = (*IMAGE_FIELDS, BACKGROUND_FIELD)
HOW_TO_SEND = (
    "Send the image as the body with Content-Type: image/jpeg, image/png or image/webp, or as "
    "the field `image` of multipart/form-data."
)


@dataclass(frozen=True, slots=True)
class Upload:
    """One image file as it was sent; `digest` is the sha256 of its bytes."""

    data: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Intake:
    image: Upload
    background: Upload | None = None
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """`image_bytes` bounds each image; the parts around it add little."""

    image_bytes: int
    read_timeout_s: float

    @property
    def form_bytes(self) -> int:
        return 2 * self.image_bytes + MAX_PARTS * 2 * MAX_TEXT_BYTES


Take = Callable[[int], None]


class BodyBudget:
    """Bounds the bytes of all bodies in memory, counted as they arrive.

    Belongs to one event loop. A body alone is always admitted: its own limit bounds it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.held = 0

    @contextmanager
    def lease(self) -> Iterator[Take]:
        """Gives a function that takes bytes, or raises Overloaded; returns them all at the end."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if self.held > mine and self.held + size > self._max_bytes:
                raise Overloaded("Too many bytes are in work.", limit=self._max_bytes)
            mine += size
            self.held += size

        try:
            yield take
        finally:
            self.held -= mine


async def read_intake(request: Request, limits: IntakeLimits, take: Take) -> Intake:
    """Reads the whole body; `take` is told of every piece before it is kept.

    Raises BodyTooLarge at once for a Content-Length over the limit, and while reading for one
    that lied; BodyTooSlow after `read_timeout_s`; MissingImage, AmbiguousSource, MalformedBody,
    BadParameter, UnsupportedImageType. starlette's ClientDisconnect passes through.
    """
    content_type = request.headers.get("content-type", "")
    is_form = _is_form(request.headers, content_type)
    limit = limits.form_bytes if is_form else limits.image_bytes
    _check_declared_length(request.headers, limit)
    try:
        async with asyncio.timeout(limits.read_timeout_s):
            if is_form:
                return await _read_form(_pieces(request, limit, take), content_type, limits)
            return Intake(await _read_raw(_pieces(request, limit, take)))
    except TimeoutError:
        raise BodyTooSlow(
            "The body was not complete in time.", limit=limits.read_timeout_s
        ) from None


def _is_form(headers: Headers, content_type: str) -> bool:
    """Raises for a body that is neither a form nor an image, before reading any of it."""
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        raise MissingImage(f"The body is empty. {HOW_TO_SEND}")
    if headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedImageType("A compressed body (Content-Encoding) is not read.")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
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


async def _pieces(request: Request, limit: int, take: Take) -> AsyncIterator[bytes]:
    """The body as it arrives, refused as soon as it is longer than `limit`."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise _too_large(limit, size)
        take(len(piece))
        yield piece


async def _read_raw(pieces: AsyncIterator[bytes]) -> Upload:
    kept: list[bytes] = []
    sha256 = hashlib.sha256()
    async for piece in pieces:
        kept.append(piece)
        sha256.update(piece)
    data = b"".join(kept)
    if not data:
        raise MissingImage(f"The body is empty. {HOW_TO_SEND}")
    return Upload(data, sha256.hexdigest())


async def _read_form(
    pieces: AsyncIterator[bytes], content_type: str, limits: IntakeLimits
) -> Intake:
    reader = MultipartReader(content_type, files=FILE_FIELDS, max_file_bytes=limits.image_bytes)
    async for piece in pieces:
        reader.feed(piece)
    return _sort(reader.close())


def _sort(parts: Sequence[Part]) -> Intake:
    files = [part for part in parts if part.is_file and not _is_empty_choice(part)]
    image = _the_only([part for part in files if part.name in IMAGE_FIELDS], "image")
    if image is None:
        raise MissingImage(f"The form has no image. {HOW_TO_SEND}")
    return Intake(
        image,
        _the_only([part for part in files if part.name == BACKGROUND_FIELD], BACKGROUND_FIELD),
        tuple((part.name, part.text()) for part in parts if not part.is_file),
    )


def _is_empty_choice(part: Part) -> bool:
    """What a browser sends for a file input in which nothing was chosen."""
    return not part.size and not part.filename


def _the_only(parts: Sequence[Part], what: str) -> Upload | None:
    if len(parts) > 1:
        names = ", ".join(part.name for part in parts)
        raise AmbiguousSource(f"Send exactly one {what}; there are {len(parts)}: {names}.")
    if not parts:
        return None
    if not parts[0].size:
        raise MissingImage(f"{parts[0].name} is empty.")
    return Upload(parts[0].data(), parts[0].hash.hexdigest())


def _too_large(limit: int, actual: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body has more than {limit} bytes.", limit=limit, actual=actual)
