"""Parses responses of the server and classifies them as ok, refused or failed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Literal

from loadtests.scenario.photos import ImageSize

Outcome = Literal["ok", "refused", "skipped", "failed"]
"""Result of a request or of a stream's frame. Only frames are `skipped`."""

REFUSAL_STATUSES = (429, 503)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

_RESIDENT = re.compile(r"^process_resident_memory_bytes\s+(\S+)$", re.MULTILINE)
_STAGE = re.compile(r"([\w-]+);dur=([0-9.]+)")


class UnexpectedResponse(Exception):
    """A response is neither valid nor a refusal. The message is the reason."""


@dataclass(frozen=True, slots=True)
class BatchPart:
    """Result of one photo in a response to a batch."""

    status: int
    headers: Mapping[str, str]
    """Header values by lower-case name."""
    body: bytes


def parse_server_timing(header: str) -> dict[str, float]:
    """Returns seconds by stage of a `Server-Timing` header. Stages without duration are omitted."""
    return {name: float(duration) / 1000 for name, duration in _STAGE.findall(header)}


def parse_resident_bytes(metrics: str) -> float | None:
    """Returns the resident memory of the server from the text of `/metrics`, if it is there."""
    found = _RESIDENT.search(metrics)
    return float(found[1]) if found else None


def classify_status(status: int, headers: Mapping[str, str]) -> Literal["ok", "refused"]:
    """Classifies a status. A refusal needs a `Retry-After` header of whole seconds.

    Raises UnexpectedResponse for every other status.
    """
    if status == 200:
        return "ok"
    if status not in REFUSAL_STATUSES:
        raise UnexpectedResponse(f"status {status}")
    if not headers.get("retry-after", "").isdigit():
        raise UnexpectedResponse(f"status {status} without Retry-After")
    return "refused"


def check_image(body: bytes, size: ImageSize, *, format: str) -> None:
    """Raises UnexpectedResponse for an image of another format or, if it is a PNG, another size."""
    if format == "jpeg":
        if not body.startswith(JPEG_SIGNATURE):
            raise UnexpectedResponse("the response is not a JPEG")
        return
    if not body.startswith(PNG_SIGNATURE):
        raise UnexpectedResponse("the response is not a PNG")
    found = ImageSize(int.from_bytes(body[16:20], "big"), int.from_bytes(body[20:24], "big"))
    if found != size:
        raise UnexpectedResponse(f"the response has {found} pixels, the photo {size}")


def parse_batch(content_type: str, body: bytes) -> list[BatchPart]:
    """Returns the parts of a `multipart/mixed` body in order.

    Raises UnexpectedResponse if the body is incomplete.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/mixed" or not boundary:
        raise UnexpectedResponse(f"a batch response has content type {content_type or 'none'}")
    first, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    if first or not parts or not parts[-1].startswith(b"--"):
        raise UnexpectedResponse("a batch response is incomplete")
    return [_parse_part(index, part) for index, part in enumerate(parts[:-1])]


def _parse_part(index: int, part: bytes) -> BatchPart:
    head, _, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n"))
    headers = {name.lower(): value.strip() for name, _, value in lines}
    if headers.get("x-index") != str(index):
        raise UnexpectedResponse(f"part {index} of a batch has X-Index {headers.get('x-index')}")
    status = headers.get("x-status", "")
    if not status.isdigit():
        raise UnexpectedResponse(f"part {index} of a batch has no X-Status")
    return BatchPart(int(status), headers, body)
