"""`WS /v1/stream`: handshake, first message, and the log line of a WebSocket stream."""

import asyncio
import logging
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.websockets import WebSocket

from silhouette_seg.admission.stream_limit import log_stream_end
from silhouette_seg.api.gateway import Gateway, gateway_of
from silhouette_seg.api.request.credentials import read_credentials
from silhouette_seg.api.request.stream_parameters import effective_options
from silhouette_seg.errors import (
    Draining,
    InternalError,
    ServiceError,
    TooManyStreams,
    Unauthorized,
    Unavailable,
)
from silhouette_seg.streaming.protocol import SUBPROTOCOL, CloseCode
from silhouette_seg.streaming.session import FRAME_OUTCOMES, StreamSession
from silhouette_seg.streaming.websocket import (
    INTERNAL_REASON,
    TRANSPORT,
    FrameSocket,
    StreamEnd,
    StreamEnvironment,
    WebSocketStream,
    read_text_message,
)
from silhouette_seg.telemetry import IDENTITY, read_identity

CONFIG_TIMEOUT_S = 5.0
"""Time from the handshake to the first message, which must be the config."""

CLOSE_CODES: tuple[tuple[type[ServiceError], CloseCode], ...] = (
    (Unauthorized, CloseCode.UNAUTHORIZED),
    (TooManyStreams, CloseCode.TOO_MANY_STREAMS),
    (Draining, CloseCode.RESTART),
    (Unavailable, CloseCode.OVERLOADED),
    (InternalError, CloseCode.INTERNAL),
    (ServiceError, CloseCode.BAD_CONFIG),
)
"""CloseCode codes of errors before a stream starts; the first matching class applies."""

router = APIRouter()
log = logging.getLogger(__name__)


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Serves one WebSocket stream.

    The handshake is always accepted: browsers show a page the code of a close, but not the status
    of a rejected handshake.
    """
    headers = socket.headers
    IDENTITY.set(read_identity(headers.get("x-request-id"), headers.get("traceparent")))
    offered = SUBPROTOCOL in socket.scope["subprotocols"]
    await socket.accept(SUBPROTOCOL if offered else None)
    handler = _StreamHandler(socket)
    try:
        end = await handler.serve()
    except StreamEnd as error:
        end = error
    except Exception:
        log.exception("a stream broke")
        end = StreamEnd(CloseCode.INTERNAL, INTERNAL_REASON)
    await handler.peer.close(end)
    handler.log_end(end)


class _StreamHandler:
    """Serves one peer, from the handshake to the end of its stream."""

    def __init__(self, socket: WebSocket) -> None:
        self.peer = FrameSocket(socket)
        self._socket = socket
        self._gateway = gateway_of(socket)
        self._started = perf_counter()
        self._stream: WebSocketStream | None = None

    async def serve(self) -> StreamEnd:
        """Returns the end of the stream; raises StreamEnd if no stream starts."""
        gateway = self._gateway
        _check_handshake(self._socket, gateway.allowed_origins)
        try:
            with gateway.streams.handshake():
                config = await self._read_config()
            caller = gateway.identify(read_credentials(self._socket, config.pop("key", None)))
            tracked = gateway.telemetry.track_stream(TRANSPORT)
            with gateway.streams.acquire(caller), tracked:
                gateway.check_ready()
                options = await gateway.stream_options.parse(config)
                self._stream = WebSocketStream(
                    self.peer, StreamSession(options), _environment(gateway)
                )
                return await self._stream.serve()
        except ServiceError as error:
            code = next(code for cls, code in CLOSE_CODES if isinstance(error, cls))
            raise StreamEnd(code, f"{error.code}: {error.detail}") from error

    def log_end(self, end: StreamEnd) -> None:
        """Writes the log line and the metrics; neither contains text of the peer."""
        self._gateway.telemetry.count_stream_end(TRANSPORT, _end_label(end))
        counts = self._stream.outcomes if self._stream else {}
        frames = {name: counts.get(name, 0) for name in FRAME_OUTCOMES}
        model = self._stream.model if self._stream else "-"
        duration_s = perf_counter() - self._started
        log_stream_end(
            log, TRANSPORT, model, frames, duration_s, f" closed {end.code}", close=end.code
        )

    async def _read_config(self) -> dict[str, Any]:
        """Returns the values of the first message; raises StreamEnd if it is not a config."""
        try:
            async with asyncio.timeout(CONFIG_TIMEOUT_S):
                message = await self.peer.receive()
        except TimeoutError:
            raise StreamEnd(
                CloseCode.CONFIG_TIMEOUT, f"no config within {CONFIG_TIMEOUT_S:g} s"
            ) from None
        if not isinstance(message, str):
            raise StreamEnd(CloseCode.BAD_CONFIG, "the first message must be a config")
        kind, values = read_text_message(message)
        if kind != "config":
            raise StreamEnd(CloseCode.BAD_CONFIG, "the first message must be a config")
        return values


def _end_label(end: StreamEnd) -> str:
    """Returns the metric label: the name of our close code, or `client` if the peer ended it."""
    return (
        "client"
        if end.disconnected or end.code not in set(CloseCode)
        else CloseCode(end.code).name.lower()
    )


def _check_handshake(socket: WebSocket, allowed_origins: tuple[str, ...]) -> None:
    """Raises StreamEnd for a wrong subprotocol, or for a page of an origin that is not allowed.

    Browsers send the origin of the page but leave the decision to the server: CORS does not apply
    to WebSockets.
    """
    if SUBPROTOCOL not in socket.scope["subprotocols"]:
        raise StreamEnd(CloseCode.POLICY, f"the subprotocol must be {SUBPROTOCOL}")
    origin = socket.headers.get("origin")
    host = socket.headers.get("host", "").lower()
    if origin is None or origin in allowed_origins or "*" in allowed_origins:
        return
    if not host or _host_of(origin) != host:
        raise StreamEnd(CloseCode.POLICY, "pages of this origin may not stream")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _environment(gateway: Gateway) -> StreamEnvironment:
    return StreamEnvironment(
        limits=gateway.stream_limits,
        frame_limits=gateway.frame_limits,
        parse_options=gateway.stream_options.parse,
        describe_options=effective_options,
        telemetry=gateway.telemetry,
        draining=gateway.streams.draining,
    )
