"""The messages of `silhouette.v1`, the WebSocket protocol of `/v1/stream`.

The service and the Python client share this module. A binary message is a header of 20 bytes,
little-endian, and a body:

    magic "SILH" | version u8 | kind u8 | flags u16 | seq u32 | client's timestamp u64

`seq` is the number of the frame. The service returns it and the timestamp unchanged, so a client
measures its round trip on its own clock. Bodies by kind:

- FRAME: an image file, usually a JPEG, PNG or WebP.
- RESULT: 12 bytes and an image. The 12 bytes are width u16, height u16, frames skipped so far u32
  and microseconds in the service u32.
- ERROR: JSON with `code`, `detail` and `retryable`.
- SKIPPED: empty.

Each FRAME is answered by exactly one RESULT, ERROR or SKIPPED. Text messages are JSON objects with
a `type`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import STRICT, IntEnum, IntFlag, StrEnum
from struct import Struct
from typing import Any, Self

SUBPROTOCOL = "silhouette.v1"
MAGIC = b"SILH"
VERSION = 1
FRAME_CREDITS = 2
"""Maximum number of unanswered frames of one client."""

HEADER_FIELDS = {
    "magic": "4s",
    "version": "B",
    "kind": "B",
    "flags": "H",
    "seq": "I",
    "timestamp": "Q",
}
"""Fields of the header in order, each with its code of `struct`."""
RESULT_FIELDS = {"width": "H", "height": "H", "skipped": "I", "server_us": "I"}
"""Fields before the image of a RESULT in order, each with its code of `struct`."""
_HEADER = Struct("<" + "".join(HEADER_FIELDS.values()))
_RESULT_HEADER = Struct("<" + "".join(RESULT_FIELDS.values()))
_UINT32_MAX = 2**32 - 1

MAX_JSON_VALUES = 256
"""Maximum number of values in the JSON of a text message.

A parser needs forty times the memory of small values and blocks all other threads meanwhile. One
value may be long: a background image in base64.
"""


class TextType(StrEnum):
    """Values of `type` in text messages. The service sends the last three."""

    CONFIG = "config"
    RESET = "reset"
    READY = "ready"
    ERROR = "error"
    WARNING = "warning"


class MessageKind(IntEnum):
    FRAME = 1
    RESULT = 2
    ERROR = 3
    SKIPPED = 4


class MessageFlags(IntFlag, boundary=STRICT):
    NONE = 0
    FOREGROUND = 1
    """Set in a RESULT if the frame shows a person."""


class CloseCode(IntEnum):
    """WebSocket close codes with which the service ends a stream, each with its reason.

    Codes below 4000 are standard ones of the IANA registry for RFC 6455.
    """

    description: str

    def __new__(cls, code: int, description: str = "") -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.description = description
        return member

    NORMAL = 1000, "The client closed the stream."
    GOING_AWAY = 1001, "The stream reached its maximum duration."
    WRONG_TYPE = 1003, "A text message is no JSON object with a `type`, or has too many values."
    BAD_FRAMES = 1007, "Too many consecutive frames are no valid images."
    POLICY = 1008, "The page's origin is not allowed, or the subprotocol was not offered."
    TOO_BIG = 1009, "A message has too many bytes."
    INTERNAL = 1011, "The service failed, or the client did not answer pings."
    RESTART = 1012, "The service is shutting down."
    OVERLOADED = 1013, "The service is full or warming up."
    BAD_CONFIG = 4400, "The first message is no valid `config`, or a binary message is invalid."
    UNAUTHORIZED = 4401, "The service requires a key, and none was valid."
    CONFIG_TIMEOUT = 4408, "No `config` arrived in time."
    IDLE = 4410, "No frame arrived in time."
    TOO_MANY_STREAMS = 4429, "The caller has its maximum number of streams."


class ProtocolError(ValueError):
    """A message does not conform to `silhouette.v1`."""


@dataclass(frozen=True, slots=True)
class MessageHeader:
    """Header of a binary message: its kind, frame number, timestamp and flags."""

    kind: MessageKind
    seq: int
    """Number of the frame, 0..2**32-1, chosen by the client."""
    timestamp: int
    """Time on the client's clock, 0..2**64-1, in a unit that the client chooses."""
    flags: MessageFlags = MessageFlags.NONE


@dataclass(frozen=True, slots=True)
class ResultHeader:
    """Fields before the image in a RESULT message; `width` and `height` are its size in pixels."""

    width: int
    height: int
    skipped: int
    """Number of frames of this stream so far that a newer one replaced."""
    server_us: int
    """Microseconds from the arrival of the frame to its result."""


def pack(header: MessageHeader, body: bytes = b"") -> bytes:
    """Returns a binary message: the encoded header, followed by `body`."""
    return _HEADER.pack(
        MAGIC, VERSION, header.kind, header.flags, header.seq, header.timestamp
    ) + bytes(body)


def unpack(message: bytes) -> tuple[MessageHeader, memoryview]:
    """Splits a binary message into its header and its body, a view of the message.

    Raises ProtocolError for a truncated or invalid header.
    """
    if len(message) < _HEADER.size:
        raise ProtocolError(f"a message has at least {_HEADER.size} bytes, not {len(message)}")
    magic, version, kind, flags, seq, timestamp = _HEADER.unpack_from(message)
    if magic != MAGIC:
        raise ProtocolError(f"a message begins with {MAGIC!r}, not {magic!r}")
    if version != VERSION:
        raise ProtocolError(f"the protocol version is {VERSION}, not {version}")
    try:
        header = MessageHeader(MessageKind(kind), seq, timestamp, MessageFlags(flags))
    except ValueError:
        raise ProtocolError(f"unknown message kind {kind} with flags {flags}") from None
    return header, memoryview(message)[_HEADER.size :]


def pack_result(header: MessageHeader, result: ResultHeader, image: bytes) -> bytes:
    """Returns a RESULT message with `image`, an image file.

    `skipped` and `server_us` are clipped to 32 bits.
    """
    counts = min(result.skipped, _UINT32_MAX), min(result.server_us, _UINT32_MAX)
    return pack(header, _RESULT_HEADER.pack(result.width, result.height, *counts) + image)


def unpack_result(body: memoryview) -> tuple[ResultHeader, memoryview]:
    """Splits the body of a RESULT message into its fields and its image file.

    Raises ProtocolError if the body is too short.
    """
    if len(body) < _RESULT_HEADER.size:
        raise ProtocolError(f"a result has at least {_RESULT_HEADER.size} bytes, not {len(body)}")
    return ResultHeader(*_RESULT_HEADER.unpack_from(body)), body[_RESULT_HEADER.size :]


def parse_text_message(message: str) -> dict[str, Any]:
    """Parses a text message, and returns its JSON object.

    Raises ProtocolError unless it is an object with a `type` and within `MAX_JSON_VALUES`.
    """
    value = parse_json_object(message)
    if not isinstance(value.get("type"), str):
        raise ProtocolError("a text message is a JSON object with a type")
    return value


def parse_json_object(text: str) -> dict[str, Any]:
    """Parses and returns a JSON object of at most MAX_JSON_VALUES values of any length.

    Raises ProtocolError for more values, or for text that is no JSON object.
    """
    if max(text.count(mark) for mark in ",[{") > MAX_JSON_VALUES:
        raise ProtocolError(f"the JSON has more than {MAX_JSON_VALUES} values")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("the text is not JSON") from None
    if not isinstance(value, dict):
        raise ProtocolError("the JSON is not an object")
    return value


def text_message(kind: str, values: Mapping[str, object]) -> str:
    """Returns a text message: a JSON object with `kind` as its `type`, and `values`."""
    return json.dumps({"type": kind, **values})
