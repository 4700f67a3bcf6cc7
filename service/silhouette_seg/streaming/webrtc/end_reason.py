"""Reasons for which a WebRTC stream ends."""

from enum import StrEnum


class EndReason(StrEnum):
    """Reason for which a WebRTC stream ended.

    The values are metric labels and log fields, and therefore a contract.
    """

    CLIENT_REQUEST = "its client ended it"
    PEER_CLOSED = "the peer hung up"
    """The client closed the connection. Its track ends too; either may be noticed first."""
    CONNECT_TIMEOUT = "it never connected"
    CONNECTION_FAILED = "the connection failed"
    IDLE = "no frame came"
    FRAME_TOO_LARGE = "a frame has too many pixels"
    SENDING_FAILED = "nothing can be sent"
    MAX_DURATION = "it had its time"
    SHUTDOWN = "the service stops"
    INTERNAL = "it broke"
