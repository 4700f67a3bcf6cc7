"""Configuration of WebRTC streams: ICE servers, addresses, timeouts and limits."""

from dataclasses import dataclass, field
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class IceServer:
    """URL of a STUN or TURN server, and the credentials of a TURN server."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_ice_server(text: str) -> IceServer:
    """Parses the URL of a STUN or TURN server from the settings.

    The forms are `stun:host[:port]` and `turn:user:password@host[:port][?transport=udp|tcp]`, and
    the same with `stuns` and `turns`. User and password may be percent-encoded. Raises ValueError
    for any other text.
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
    """Configuration of all WebRTC streams of the service."""

    hosts: tuple[str, ...] = ()
    """IP addresses to offer as ICE host candidates; if empty, those of all interfaces."""
    ice_servers: tuple[IceServer, ...] = ()
    connect_timeout_s: float = 30
    """Maximum time from the answer to the connection, in seconds."""
    idle_timeout_s: float = 10
    """Time without a frame after which a stream ends, in seconds."""
    frame_timeout_s: float = 10
    """Time after which the work on one frame is cancelled, in seconds."""
    max_duration_s: float = 4 * 3600
    """Maximum duration of a stream, in seconds."""
    max_frame_pixels: int = 4096 * 2160
    """Maximum number of pixels of a frame. Codecs allow 16383 x 16383."""
    low_latency: bool = False
    """True delivers each frame on its last packet, by the jitter buffer of `low_latency`."""
