"""Configuration of the WebRTC transport."""

from dataclasses import dataclass, field
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server. Only a TURN server has credentials."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_ice_server(text: str) -> IceServer:
    """Parses the setting of an ICE server.

    The forms are `stun:host[:port]` and `turn:user:password@host[:port][?transport=udp|tcp]`, and
    the same with `stuns` and `turns`. User and password may be percent-encoded. Raises ValueError.
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
class WebRTCConfig:
    """Configuration of all WebRTC peers."""

    hosts: tuple[str, ...] = ()
    """Addresses of the ICE host candidates; if empty, those of all network interfaces."""
    ice_servers: tuple[IceServer, ...] = ()
    connect_timeout_s: float = 30
    """Time from the offer to the connection, in seconds."""
    idle_timeout_s: float = 10
    """Maximum time without a frame, in seconds."""
    frame_timeout_s: float = 10
    """Maximum time for one frame, in seconds."""
    max_duration_s: float = 4 * 3600
    """Maximum duration of a stream, in seconds."""
    max_frame_pixels: int = 4096 * 2160
    """Maximum number of pixels of a frame. Codecs allow 16383 x 16383."""
    low_latency: bool = False
    """Enables the jitter buffer of `low_latency`."""
