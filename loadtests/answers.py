"""What the server said: an answer, a refusal, or something that should not be."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Literal

from loadtests.photos import Size

Outcome = Literal["ok", "refused", "skipped", "failed"]
"""`skipped` is of a stream's frames alone."""

REFUSALS = (429, 503)
PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"

_RESIDENT = re.compile(r"^process_resident_memory_bytes\s+(\S+)$", re.MULTILINE)
_STAGE = re.compile(r"([\w-]+);dur=([0-9.]+)")


class Unexpected(Exception):
    """Neither a whole answer nor a refusal; the message says what it was."""


@dataclass(frozen=True, slots=True)
class Part:
    """One answer of a batch."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


def server_timing(header: str) -> dict[str, float]:
    """Seconds by stage of a `Server-Timing` header; what has no duration is left out."""
    return {name: float(duration) / 1000 for name, duration in _STAGE.findall(header)}


def resident_bytes(metrics: str) -> float | None:
    """Memory of the server's process, from the text of `/metrics`; None where it does not tell."""
    found = _RESIDENT.search(metrics)
    return float(found[1]) if found else None


def judge(status: int, headers: Mapping[str, str]) -> Literal["ok", "refused"]:
    """A refusal is an answer that says when to come again. Raises Unexpected for all others."""
    if status == 200:
        return "ok"
    if status not in REFUSALS:
        raise Unexpected(f"status {status}")
    if not headers.get("retry-after", "").isdigit():
        raise Unexpected(f"status {status} without Retry-After")
    return "refused"


def check_picture(body: bytes, size: Size, *, format: str) -> None:
    """Raises Unexpected for what is no picture in that format or, as a PNG, not of that size."""
    if format == "jpeg":
        if not body.startswith(JPEG):
            raise Unexpected("the answer is no JPEG")
        return
    if not body.startswith(PNG):
        raise Unexpected("the answer is no PNG")
    found = Size(int.from_bytes(body[16:20], "big"), int.from_bytes(body[20:24], "big"))
    if found != size:
        raise Unexpected(f"the answer is {found}, the photo {size}")


def parts_of(content_type: str, body: bytes) -> list[Part]:
    """Those of a `multipart/mixed` body, in order. Raises Unexpected unless it is whole."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/mixed" or not boundary:
        raise Unexpected(f"the answer to a batch is {content_type or 'of no type'}")
    first, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    if first or not parts or not parts[-1].startswith(b"--"):
        raise Unexpected("the answer to a batch is not whole")
    return [_part(index, part) for index, part in enumerate(parts[:-1])]


def _part(index: int, part: bytes) -> Part:
    head, _, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n"))
    headers = {name.lower(): value.strip() for name, _, value in lines}
    if headers.get("x-index") != str(index):
        raise Unexpected(f"part {index} of a batch is number {headers.get('x-index')}")
    status = headers.get("x-status", "")
    if not status.isdigit():
        raise Unexpected(f"part {index} of a batch has no X-Status")
    return Part(int(status), headers, body)
