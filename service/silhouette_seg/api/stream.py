"""`WS /v1/stream`: who may stream, the first message, and the line in the log."""

import asyncio
import logging
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.websockets import WebSocket

from silhouette_seg.admission.stream_limit import log_stream_end
from silhouette_seg.api.gateway import Gateway, gateway_of
from silhouette_seg.api.request.stream_parameters import effective_options, parse_stream_options
from silhouette_seg.errors import (
    BadParameter,
    Draining,
    InternalError,
    ServiceError,
    TooManyStreams,
    Unauthorized,
    Unavailable,
)
from silhouette_seg.streaming.protocol import SUBPROTOCOL, CloseCode
from silhouette_seg.streaming.session import StreamSession
from silhouette_seg.streaming.websocket import (
    INTERNAL_REASON,
    OUTCOMES,
    TRANSPORT,
    FrameSocket,
    StreamEnd,
    StreamEnvironment,
    WebSocketStream,
    read_text_message,
)
from silhouette_seg.telemetry import IDENTITY, read_identity

CONFIG_TIMEOUT_S = 5.0
"""Time that a peer has for its first message."""

CLOSE_CODES: tuple[tuple[type[ServiceError], CloseCode], ...] = (
    (Unauthorized, CloseCode.UNAUTHORIZED),
    (TooManyStreams, CloseCode.TOO_MANY_STREAMS),
    (Draining, CloseCode.RESTART),
    (Unavailable, CloseCode.OVERLOADED),
    (InternalError, CloseCode.INTERNAL),
    (ServiceError, CloseCode.BAD_CONFIG),
)
"""What a refusal is as a close code; the first that fits."""

router = APIRouter()
log = logging.getLogger(__name__)


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Always accepts: a browser shows its page the code of a close, but not that of a refusal."""
    headers = socket.headers
    IDENTITY.set(read_identity(headers.get("x-request-id"), headers.get("traceparent")))
    offered = SUBPROTOCOL in socket.scope["subprotocols"]
    await socket.accept(SUBPROTOCOL if offered else None)
    handler = _StreamHandler(socket)
    try:
        end = await handler.run()
    except StreamEnd as error:
        end = error
    except Exception:
        log.exception("a stream broke")
        end = StreamEnd(CloseCode.INTERNAL, INTERNAL_REASON)
    await handler.peer.close(end)
    handler.log_end_of_stream(end)


class _StreamHandler:
    """One peer, from the handshake to its end."""

    def __init__(self, socket: WebSocket) -> None:
        self.peer = FrameSocket(socket)
        self._socket = socket
        self._gateway = gateway_of(socket)
        self._began = perf_counter()
        self._stream: WebSocketStream | None = None

    async def run(self) -> StreamEnd:
        """Raises StreamEnd for whoever does not come to stream."""
        _check_handshake(self._socket, self._gateway.allowed_origins)
        try:
            with self._gateway.streams.handshake():
                given = await self._first_message()
            caller = self._caller(given.pop("key", None))
            counted = self._gateway.telemetry.track_stream(TRANSPORT)
            with self._gateway.streams.acquire(caller), counted:
                self._gateway.check_ready()
                options = await parse_stream_options(given, self._gateway)
                self._stream = WebSocketStream(
                    self.peer, StreamSession(options), _environment(self._gateway)
                )
                return await self._stream.serve()
        except ServiceError as error:
            code = next(code for kind, code in CLOSE_CODES if isinstance(error, kind))
            raise StreamEnd(code, f"{error.code}: {error.detail}") from error

    def log_end_of_stream(self, end: StreamEnd) -> None:
        """The log and the metrics: nothing of it was made up by the peer."""
        self._gateway.telemetry.count_stream_end(TRANSPORT, _reason(end))
        counts = self._stream.outcomes if self._stream else {}
        frames = {name: counts.get(name, 0) for name in OUTCOMES}
        model = self._stream.model if self._stream else "-"
        spent_s = perf_counter() - self._began
        log_stream_end(
            log, TRANSPORT, model, frames, spent_s, f" closed {end.code}", close=end.code
        )

    async def _first_message(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(CONFIG_TIMEOUT_S):
                message = await self.peer.receive()
        except TimeoutError:
            raise StreamEnd(
                CloseCode.CONFIG_TIMEOUT, f"no config within {CONFIG_TIMEOUT_S:g} s"
            ) from None
        if not isinstance(message, str):
            raise StreamEnd(CloseCode.BAD_CONFIG, "the first message is a config")
        kind, values = read_text_message(message)
        if kind != "config":
            raise StreamEnd(CloseCode.BAD_CONFIG, "the first message is a config")
        return values

    def _caller(self, key: object) -> str:
        """Raises Unauthorized, and BadParameter for a key that is no text."""
        if not (key is None or isinstance(key, str)):
            raise BadParameter("key: must be text")
        headers = self._socket.headers
        scheme, _, token = headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else None
        # The ring reads keys as header text: latin-1 for whatever bytes were sent.
        sent = key.encode("utf-8", "replace").decode("latin-1") if key else None
        address = self._socket.client.host if self._socket.client else ""
        return self._gateway.keyring.identify(bearer, sent or headers.get("x-api-key"), address)


def _reason(end: StreamEnd) -> str:
    """Of a metric: the name of our close code, or that it was not us."""
    if end.disconnected or end.code not in set(CloseCode):
        return "client"
    return CloseCode(end.code).name.lower()


def _check_handshake(socket: WebSocket, origins: tuple[str, ...]) -> None:
    """Browsers send the origin of the page and leave it to us: there is no CORS for WebSockets."""
    if SUBPROTOCOL not in socket.scope["subprotocols"]:
        raise StreamEnd(CloseCode.POLICY, f"the subprotocol is {SUBPROTOCOL}")
    origin = socket.headers.get("origin")
    ours = socket.headers.get("host", "").lower()
    if origin is None or origin in origins or "*" in origins:
        return
    if not ours or _host_of(origin) != ours:
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
        parse_options=lambda given, before: parse_stream_options(given, gateway, before),
        describe_options=effective_options,
        telemetry=gateway.telemetry,
        closing=gateway.streams.draining,
    )
