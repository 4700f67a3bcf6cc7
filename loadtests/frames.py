"""`silhouette.v1` as a client sees it: the header, and one answer to each frame."""

from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from loadtests.answers import Unexpected

SUBPROTOCOL = "silhouette.v1"
REFUSED = (1012, 1013, 4429)
"""Close codes that say to come again later: shutting down, full, this caller's streams."""

_HEADER = Struct("<4sBBHIQ")
_RESULT = Struct("<HHII")


class Kind(IntEnum):
    FRAME = 1
    RESULT = 2
    ERROR = 3
    SKIPPED = 4


class Answer(NamedTuple):
    kind: Kind
    due_ns: int
    """What the client wrote as its timestamp."""
    server_s: float | None
    """In the server, of a result."""


def pack(seq: int, due_ns: int, picture: bytes) -> bytes:
    return _HEADER.pack(b"SILH", 1, Kind.FRAME, 0, seq, due_ns) + picture


@dataclass(slots=True)
class Ledger:
    """What one stream sent, and what is not answered yet."""

    credits: int
    """Frames that may be unanswered."""
    sent: int = 0
    unanswered: set[int] = field(default_factory=set)
    over: bool = False
    """No more frames will be sent."""

    @property
    def has_credit(self) -> bool:
        return len(self.unanswered) < self.credits

    def frame(self, due_ns: int, picture: bytes) -> bytes:
        """The message for the next frame."""
        seq = self.sent
        self.sent += 1
        self.unanswered.add(seq)
        return pack(seq, due_ns, picture)

    def answer(self, message: bytes | str) -> Answer:
        """Raises Unexpected for what answers no frame, or one that was answered."""
        if isinstance(message, str) or len(message) < _HEADER.size:
            raise Unexpected("a message of the stream is no answer to a frame")
        magic, version, kind, _, seq, due_ns = _HEADER.unpack_from(message)
        if (magic, version) != (b"SILH", 1) or kind not in (Kind.RESULT, Kind.ERROR, Kind.SKIPPED):
            raise Unexpected(f"a header begins with {magic!r}, {version}, {kind}")
        if seq not in self.unanswered:
            raise Unexpected(f"frame {seq} was answered before, or never sent")
        self.unanswered.remove(seq)
        if kind != Kind.RESULT:
            return Answer(Kind(kind), due_ns, None)
        if len(message) <= _HEADER.size + _RESULT.size:
            raise Unexpected(f"the result of frame {seq} has no picture")
        *_, server_us = _RESULT.unpack_from(message, _HEADER.size)
        return Answer(Kind.RESULT, due_ns, server_us / 1e6)
