"""What an operator decides about WebRTC."""

from dataclasses import dataclass, field
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server; only TURN has credentials."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def read_ice_server(text: str) -> IceServer:
    """`stun:host[:port]` or `turn:user:password@host[:port][?transport=udp|tcp]`, the same with
    `stuns` and `turns`; user and password may be percent-encoded. Raises ValueError.
    """
    scheme, _, rest = text.partition(":")
    credentials, at, host = rest.rpartition("@")
    user, _, password = credentials.partition(":")
    if scheme not in ("stun", "stuns", "turn", "turns") or not host:
        raise ValueError("an ICE server is stun:host:port or turn:user:password@host:port")
    if scheme.startswith("stun"):
        if at:
            raise ValueError("a STUN server takes no credentials")
        return IceServer(text)
    if not (user and password):
        raise ValueError("a TURN server is written turn:user:password@host:port")
    return IceServer(f"{scheme}:{host}", unquote(user), unquote(password))


@dataclass(frozen=True, slots=True)
class Terms:
    """Of every peer. `hosts` are the addresses to offer; none offers those of the interfaces."""

    hosts: tuple[str, ...] = ()
    ice_servers: tuple[IceServer, ...] = ()
    connect_s: float = 30
    """Time to connect after the offer."""
    idle_s: float = 10
    """Time without a frame."""
    frame_s: float = 10
    """Time for one frame."""
    max_s: float = 4 * 3600
    """Time of a whole stream."""
    frame_pixels: int = 4096 * 2160
    """The most that a frame has: a codec goes up to 16383 x 16383."""
    low_latency: bool = False
