"""`WS /v1/stream`: checks the handshake, reads the first message, and serves the video stream."""

import asyncio
import logging
from contextlib import ExitStack
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.websockets import WebSocket

from silhouette_seg.admission.stream_limit import StreamPlace, log_stream_end
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
from silhouette_seg.streaming.protocol import SUBPROTOCOL, CloseCode, TextType
from silhouette_seg.streaming.session import FRAME_OUTCOMES, StreamOptions, StreamSession
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

PATH = "/v1/stream"
CONFIG_TIMEOUT_S = 5.0
"""Seconds from the handshake until the first message, `config`, must have arrived."""

CLOSE_CODES: tuple[tuple[type[ServiceError], CloseCode], ...] = (
    (Unauthorized, CloseCode.UNAUTHORIZED),
    (TooManyStreams, CloseCode.TOO_MANY_STREAMS),
    (Draining, CloseCode.RESTART),
    (Unavailable, CloseCode.OVERLOADED),
    (InternalError, CloseCode.INTERNAL),
    (ServiceError, CloseCode.BAD_CONFIG),
)
"""WebSocket close code for each class of error before a stream starts.

The first entry that matches the class of the error applies.
"""

DEFAULT_PORTS = {"http": 80, "https": 443}
"""Scheme of a page -> TCP port that its origin leaves out."""

router = APIRouter()
log = logging.getLogger(__name__)


@router.websocket(PATH)
async def stream(socket: WebSocket) -> None:
    """Serves one video stream over a WebSocket until it ends, and closes it with the reason.

    The handshake is always accepted. Browsers show a page the code of a close, but not the status
    of a rejected handshake.
    """
    headers = socket.headers
    IDENTITY.set(read_identity(headers.get("x-request-id"), headers.get("traceparent")))
    offered = SUBPROTOCOL in socket.scope["subprotocols"]
    await socket.accept(SUBPROTOCOL if offered else None)
    handler = _StreamHandler(socket)
    with ExitStack() as place:
        try:
            end = await handler.serve(place)
        except StreamEnd as error:
            end = error
        except Exception:
            log.exception("a stream broke")
            end = StreamEnd(CloseCode.INTERNAL, INTERNAL_REASON)
        await handler.peer.close(end)
    handler.log_end(end)


class _StreamHandler:
    """Serves one WebSocket client, from the handshake to the end of its video stream."""

    def __init__(self, socket: WebSocket) -> None:
        self.peer = FrameSocket(socket)
        self._socket = socket
        self._gateway = gateway_of(socket)
        self._started = perf_counter()
        self._stream: WebSocketStream | None = None

    async def serve(self, place: ExitStack) -> StreamEnd:
        """Serves the stream, and returns the close code and reason with which it ended.

        The stream counts as open until `place` is closed: a shutdown waits for its close message.
        Raises StreamEnd if no stream starts: a wrong origin, subprotocol, key or config, or a
        service without a free place.
        """
        gateway = self._gateway
        _check_handshake(self._socket, gateway.allowed_origins)
        try:
            with gateway.streams.handshake():
                config = await self._read_config()
            caller = gateway.identify(read_credentials(self._socket, config.pop("key", None)))
            own = place.enter_context(gateway.streams.acquire(caller))
            place.enter_context(gateway.telemetry.track_stream(TRANSPORT))
            gateway.check_started()
            environment = _environment(gateway, own)
            options = await environment.parse_options(config, None)
            self._stream = WebSocketStream(self.peer, StreamSession(options), environment)
            return await self._stream.serve()
        except ServiceError as error:
            code = next(code for cls, code in CLOSE_CODES if isinstance(error, cls))
            raise StreamEnd(code, f"{error.code}: {error.detail}") from error

    def log_end(self, end: StreamEnd) -> None:
        """Writes the log line of the ended stream and counts its end in the metrics.

        Neither contains text of the client.
        """
        self._gateway.telemetry.count_stream_end(TRANSPORT, _end_label(end))
        counts = self._stream.outcomes if self._stream else {}
        frames = {name: counts.get(name, 0) for name in FRAME_OUTCOMES}
        model = self._stream.model if self._stream else "-"
        duration_s = perf_counter() - self._started
        log_stream_end(
            log, TRANSPORT, model, frames, duration_s, f" closed {end.code}", close=end.code
        )

    async def _read_config(self) -> dict[str, Any]:
        """Returns the members of the first message, a `config`, without its type.

        Raises StreamEnd if it is another message or takes longer than `CONFIG_TIMEOUT_S`.
        """
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
        if kind != TextType.CONFIG:
            raise StreamEnd(CloseCode.BAD_CONFIG, "the first message must be a config")
        return values


def _end_label(end: StreamEnd) -> str:
    """Returns the metric label `reason` of an ended stream.

    It is the name of the service's close code in lower case, or `client` if the client ended it.
    """
    return (
        "client"
        if end.disconnected or end.code not in set(CloseCode)
        else CloseCode(end.code).name.lower()
    )


def _check_handshake(socket: WebSocket, allowed_origins: tuple[str, ...]) -> None:
    """Raises StreamEnd unless the client offers the subprotocol and its origin is allowed.

    The origin is allowed if it is absent, listed, or the service's own host. CORS does not apply to
    WebSockets: browsers send the origin of the page and leave the decision to the server.
    """
    if SUBPROTOCOL not in socket.scope["subprotocols"]:
        raise StreamEnd(CloseCode.POLICY, f"the subprotocol must be {SUBPROTOCOL}")
    origin = socket.headers.get("origin")
    if origin is None or origin in allowed_origins or "*" in allowed_origins:
        return
    if not _is_own_page(origin, socket.headers.get("host", "")):
        raise StreamEnd(CloseCode.POLICY, "pages of this origin may not stream")


def _is_own_page(origin: str, host: str) -> bool:
    """Returns whether an origin has the host and port of the header Host.

    A port that either leaves out is the default of the origin's scheme. The scheme of the
    connection does not count, because a proxy may have ended TLS.
    """
    try:
        page, own = urlsplit(origin), urlsplit(f"//{host}")
        default = DEFAULT_PORTS.get(page.scheme)
        return page.hostname is not None and (page.hostname, page.port or default) == (
            own.hostname,
            own.port or default,
        )
    except ValueError:
        return False


def _environment(gateway: Gateway, place: StreamPlace) -> StreamEnvironment:
    """Returns the environment of one stream, which takes up `place` in the limits."""

    async def parse_options(
        parameters: dict[str, Any], current: StreamOptions | None
    ) -> StreamOptions:
        options = await gateway.stream_options.parse(parameters, current)
        place.set_frame_seconds(options.segmenter.image_s)
        return options

    return StreamEnvironment(
        limits=gateway.stream_limits,
        frame_limits=gateway.frame_limits,
        parse_options=parse_options,
        describe_options=effective_options,
        telemetry=gateway.telemetry,
        draining=gateway.streams.draining,
    )
