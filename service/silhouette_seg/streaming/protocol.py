"""The messages of `silhouette.v1`, the WebSocket protocol of `/v1/stream`; both ends use this file.

A binary message is a header of 20 bytes, little-endian, and a body:

    magic "SILH" | version u8 | kind u8 | flags u16 | seq u32 | client's timestamp u64

The server gives `seq` and the timestamp back as they came, so that a client measures its round
trip on its own clock. The body of a FRAME is a JPEG, PNG or WebP; that of a RESULT 12 bytes (width
u16, height u16, frames skipped so far u32, microseconds in the server u32) and a picture; that of
an ERROR JSON with `code`, `detail` and `retryable`; SKIPPED has none. Each frame gets exactly one
of the three. Text messages are JSON objects with a `type`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import STRICT, IntEnum, IntFlag
from struct import Struct
from typing import Any

SUBPROTOCOL = "silhouette.v1"
MAGIC = b"SILH"
VERSION = 1
CREDITS = 2
"""Frames that a client may have unanswered."""

_HEADER = Struct("<4sBBHIQ")
_RESULT = Struct("<HHII")
_MOST = 2**32 - 1

MAX_MEMBERS = 256
"""Of a text message. A parser needs forty times the memory of small values and lets no other
thread run meanwhile; the one long value that there may be is a picture in base64."""


class Kind(IntEnum):
    FRAME = 1
    RESULT = 2
    ERROR = 3
    SKIPPED = 4


class Flags(IntFlag, boundary=STRICT):
    NONE = 0
    FOREGROUND = 1
    """Of a result: there is a person in it."""


class Close(IntEnum):
    """Why the server ends a stream; see RFC 6455 for those under 4000."""

    NORMAL = 1000
    GOING_AWAY = 1001
    WRONG_TYPE = 1003
    """A text message where a binary one belongs, or one that is not JSON."""
    BAD_FRAMES = 1007
    """Too many frames in a row that do not decode."""
    POLICY = 1008
    """The page's origin may not call us, or the subprotocol is not ours."""
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTART = 1012
    OVERLOADED = 1013
    BAD_CONFIG = 4400
    """Also a binary message that breaks the protocol."""
    UNAUTHORIZED = 4401
    CONFIG_TIMEOUT = 4408
    IDLE = 4410
    TOO_MANY_STREAMS = 4429


class WireError(ValueError):
    """A message that breaks the protocol."""


@dataclass(frozen=True, slots=True)
class Header:
    kind: Kind
    seq: int
    timestamp: int
    flags: Flags = Flags.NONE


@dataclass(frozen=True, slots=True)
class Result:
    """What is known about the picture that a RESULT carries."""

    width: int
    height: int
    dropped: int
    """Frames of the stream skipped so far."""
    server_us: int
    """From the frame's arrival to its result."""


def pack(header: Header, body: bytes = b"") -> bytes:
    return _HEADER.pack(
        MAGIC, VERSION, header.kind, header.flags, header.seq, header.timestamp
    ) + bytes(body)


def unpack(message: bytes) -> tuple[Header, memoryview]:
    """The header and the body of a binary message; raises WireError."""
    if len(message) < _HEADER.size:
        raise WireError(f"a header has {_HEADER.size} bytes, the message {len(message)}")
    magic, version, kind, flags, seq, timestamp = _HEADER.unpack_from(message)
    if magic != MAGIC:
        raise WireError(f"a message begins with {MAGIC!r}, not {magic!r}")
    if version != VERSION:
        raise WireError(f"this is version {VERSION}, not {version}")
    try:
        header = Header(Kind(kind), seq, timestamp, Flags(flags))
    except ValueError:
        raise WireError(f"there is no kind {kind} with flags {flags}") from None
    return header, memoryview(message)[_HEADER.size :]


def pack_result(header: Header, result: Result, picture: bytes) -> bytes:
    counts = min(result.dropped, _MOST), min(result.server_us, _MOST)
    return pack(header, _RESULT.pack(result.width, result.height, *counts) + picture)


def unpack_result(body: memoryview) -> tuple[Result, memoryview]:
    """What the body of a RESULT says, and its picture; raises WireError."""
    if len(body) < _RESULT.size:
        raise WireError(f"a result has at least {_RESULT.size} bytes, not {len(body)}")
    return Result(*_RESULT.unpack_from(body)), body[_RESULT.size :]


def read_text(message: str) -> dict[str, Any]:
    """A text message; raises WireError unless it is an object with a `type`."""
    value = read_object(message)
    if not isinstance(value.get("type"), str):
        raise WireError("a text message is an object with a type")
    return value


def read_object(text: str) -> dict[str, Any]:
    """A JSON object of at most MAX_MEMBERS values, of any length; raises WireError."""
    if max(text.count(mark) for mark in ",[{") > MAX_MEMBERS:
        raise WireError(f"JSON has at most {MAX_MEMBERS} values here")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise WireError("the text is no JSON") from None
    if not isinstance(value, dict):
        raise WireError("the text is no JSON object")
    return value


def write_text(kind: str, values: Mapping[str, object]) -> str:
    return json.dumps({"type": kind, **values})
