"""Client side of `silhouette.v1`: packs frames and matches each reply to its frame."""

from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from loadtests.scenario.responses import UnexpectedResponse

SUBPROTOCOL = "silhouette.v1"
REFUSAL_CLOSE_CODES = (1012, 1013, 4429)
"""Close codes that ask the client to retry: shutting down, full, streams of this caller."""

_HEADER = Struct("<4sBBHIQ")
_RESULT = Struct("<HHII")


class MessageType(IntEnum):
    """Kinds of binary messages."""

    FRAME = 1
    RESULT = 2
    ERROR = 3
    SKIPPED = 4


class FrameReply(NamedTuple):
    """Reply of the server to one frame."""

    type: MessageType
    due_ns: int
    """Timestamp that the client wrote into the frame."""
    server_s: float | None
    """Seconds in the server; None unless the reply is a result."""


def pack_frame(seq: int, due_ns: int, image: bytes) -> bytes:
    """Returns the message of a frame."""
    return _HEADER.pack(b"SILH", 1, MessageType.FRAME, 0, seq, due_ns) + image


@dataclass(slots=True)
class FrameWindow:
    """Frames of one stream that are sent and not yet replied to."""

    credits: int
    """Maximum frames without a reply."""
    sent: int = 0
    unanswered: set[int] = field(default_factory=set)
    """Sequence numbers of frames without a reply."""
    is_complete: bool = False
    """True: no more frames will be sent."""

    @property
    def has_credit(self) -> bool:
        """True if another frame may be sent."""
        return len(self.unanswered) < self.credits

    def next_message(self, due_ns: int, image: bytes) -> bytes:
        """Returns the message of the next frame and counts it as sent."""
        seq = self.sent
        self.sent += 1
        self.unanswered.add(seq)
        return pack_frame(seq, due_ns, image)

    def match_reply(self, message: bytes | str) -> FrameReply:
        """Parses a reply. Raises UnexpectedResponse unless it is the first reply to a frame."""
        if isinstance(message, str) or len(message) < _HEADER.size:
            raise UnexpectedResponse("a message of the stream is not a reply to a frame")
        magic, version, kind, _, seq, due_ns = _HEADER.unpack_from(message)
        replies = (MessageType.RESULT, MessageType.ERROR, MessageType.SKIPPED)
        if (magic, version) != (b"SILH", 1) or kind not in replies:
            raise UnexpectedResponse(f"a header begins with {magic!r}, {version}, {kind}")
        if seq not in self.unanswered:
            raise UnexpectedResponse(f"frame {seq} has a reply already, or was never sent")
        self.unanswered.remove(seq)
        if kind != MessageType.RESULT:
            return FrameReply(MessageType(kind), due_ns, None)
        if len(message) <= _HEADER.size + _RESULT.size:
            raise UnexpectedResponse(f"the result of frame {seq} has no image")
        *_, server_us = _RESULT.unpack_from(message, _HEADER.size)
        return FrameReply(MessageType.RESULT, due_ns, server_us / 1e6)
