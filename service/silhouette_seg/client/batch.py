"""Splits photos into batches, and the response to a batch into one response per photo."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from math import inf

import httpx

from silhouette_seg.client.errors import Unreachable
from silhouette_seg.runtime.sources import FileSource, read_file_source, source_name

STATUS_HEADER = "X-Status"
"""Name of the header that holds the HTTP status of a part."""
PART_BYTES = 1024
"""Bytes of a form that a part adds to its file: at most the boundary, headers and a file name."""


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Limits of the service for one batch."""

    images: int
    """Number of photos."""
    image_bytes: int
    """Bytes of one photo."""
    body_bytes: int
    """Bytes of the whole body."""


@dataclass(frozen=True, slots=True)
class NamedPhoto:
    """The bytes of an image file, and its name."""

    name: str
    data: bytes


def read_photos(photos: Iterable[FileSource]) -> Iterator[NamedPhoto]:
    """Reads photos as they are taken.

    Raises InvalidArgument, with the index of the photo, and OSError for a file that cannot be read.
    """
    for index, photo in enumerate(photos):
        data = read_file_source(photo, f"photos[{index}]")
        yield NamedPhoto(source_name(photo) or "photo", data)


def split_photos(
    photos: Iterable[NamedPhoto], limits: ServiceLimits, form_bytes: int
) -> Iterator[list[NamedPhoto]]:
    """Splits photos, in order, into batches that the service accepts.

    `form_bytes` is the size of each form without photos. A photo that is too large for the service
    is a batch of its own, so that its error is not that of others. One batch is in memory.
    """
    batch: list[NamedPhoto] = []
    size: float = form_bytes
    for photo in photos:
        is_alone = len(photo.data) > limits.image_bytes
        added = inf if is_alone else len(photo.data) + PART_BYTES
        if batch and (len(batch) == limits.images or size + added > limits.body_bytes):
            yield batch
            batch, size = [], form_bytes
        batch.append(photo)
        size += added
    if batch:
        yield batch


def split_responses(response: httpx.Response) -> list[httpx.Response]:
    """Returns the parts of a `multipart/mixed` response in order, as responses of their own.

    Each has its own status, headers and body. Raises Unreachable for a response that is incomplete
    or not `multipart/mixed`.
    """
    delimiter = b"\r\n--" + _boundary(response)
    _, *parts = (b"\r\n" + response.content).split(delimiter)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise Unreachable("The response is incomplete.")
    return [_parse_part(part) for part in parts[:-1]]


def _boundary(response: httpx.Response) -> bytes:
    message = Message()
    message["Content-Type"] = response.headers.get("content-type", "")
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/mixed" or not boundary:
        raise Unreachable("The response is not multipart/mixed.", retryable=False)
    return boundary.encode()


def _parse_part(part: bytes) -> httpx.Response:
    head, _, body = part.partition(b"\r\n\r\n")
    lines = (line.partition(b":") for line in head.split(b"\r\n") if line)
    headers = httpx.Headers([(name, value.strip()) for name, _, value in lines])
    status = headers.get(STATUS_HEADER, "")
    if not (status.isascii() and status.isdigit()):
        raise Unreachable(f"A part of the response has no {STATUS_HEADER}.", retryable=False)
    return httpx.Response(int(status), headers=headers, content=body)
