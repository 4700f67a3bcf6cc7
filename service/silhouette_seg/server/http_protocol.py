"""uvicorn's HTTP connection, with an end for what a client can make it hold or wait for.

Its parser sets no bound to a request's line and headers, to how long they take to arrive, to the
requests that are sent ahead of their answers, or to how long an answer waits to be taken.
"""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from silhouette_seg.api.middleware.security_headers import SECURITY_HEADERS
from silhouette_seg.api.problem_details import problem
from silhouette_seg.errors import BadRequest, BodyTooSlow, ServiceError
from silhouette_seg.telemetry import IDENTITY, read_identity

MAX_HEAD_BYTES = 32 * 1024
"""Of the line and headers of a request, and of what follows a chunked body."""
MAX_AHEAD = 64
"""Requests of one connection whose answers have not begun."""
HEAD_S = 10.0
"""From a connection, or the first byte of a request on one that is open, to the last header."""
KEEP_ALIVE_S = 75.0
"""From an answer to the next request: longer than proxies keep connections that nobody uses, since
one that we close as a request sets out is a request that fails."""
TAKEN_BYTES = 64 * 1024
TAKEN_EVERY_S = 10.0
"""A client takes at least so much of its answer in each such time, or it is cut off."""


class HttpConnection(HttpToolsProtocol):
    """For `uvicorn.Config(http=...)`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_bytes = 0
        """Of headers that were read."""
        self._unread = 0
        """Bytes since the last that were of use."""
        self._refusal: ServiceError | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._taken_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        super().data_received(data)
        if self._unread > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(_head_too_large(self._unread))

    def handle_websocket_upgrade(self) -> None:
        self._forget_timers()
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._expect_head(HEAD_S)

    def on_url(self, url: bytes) -> None:
        self._count_head(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unread = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if len(self.pipeline) >= MAX_AHEAD:
            self._stop(BadRequest("Too many requests ahead of their answers.", limit=MAX_AHEAD))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        waiting = not self.pipeline
        super().on_response_complete()
        if self._taken_timer is None:
            self._watch_taken(self.transport.get_write_buffer_size())
        if waiting and self._head_timer is None and not self.transport.is_closing():
            self._expect_head(KEEP_ALIVE_S)

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal or BadRequest("This is no request of HTTP/1.1."))

    def _count_head(self, *pieces: bytes) -> None:
        self._head_bytes += sum(map(len, pieces))
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop(_head_too_large(self._head_bytes))

    def _stop(self, refusal: ServiceError) -> None:
        """Raises: the parser then gives up, and `send_400_response` is asked to say so."""
        self._refusal = refusal
        raise refusal

    def _expect_head(self, seconds: float) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(seconds, self._on_no_head)

    def _on_no_head(self) -> None:
        if self.transport.is_closing():
            return
        if self._unread:
            late = BodyTooSlow("The headers were not complete in time.", limit=HEAD_S)
            self._refuse(late)
        else:
            self.transport.close()

    def _watch_taken(self, left: int) -> None:
        """Looks again later when there are bytes that the client has not taken."""
        self._taken_timer = None
        if left:
            self._taken_timer = self.loop.call_later(TAKEN_EVERY_S, self._check_taken, left)

    def _check_taken(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left > max(0, before - TAKEN_BYTES):
            self.transport.abort()
        else:
            self._watch_taken(left)

    def _forget_timers(self) -> None:
        for timer in (self._head_timer, self._taken_timer):
            if timer is not None:
                timer.cancel()

    def _refuse(self, error: ServiceError) -> None:
        """Before there is a request that the application could answer."""
        identity = read_identity(None, None)
        token = IDENTITY.set(identity)
        try:
            answer = problem({"path": "*"}, error)
        finally:
            IDENTITY.reset(token)
        answer.headers.update(SECURITY_HEADERS)
        answer.headers.update({"Connection": "close", "X-Request-Id": identity.request_id})
        lines = [b"%s: %s\r\n" % header for header in answer.raw_headers]
        body = bytes(answer.body)
        self.transport.write(b"".join((STATUS_LINE[error.status], *lines, b"\r\n", body)))
        self.transport.close()


def _head_too_large(size: int) -> BadRequest:
    return BadRequest("The headers have too many bytes.", limit=MAX_HEAD_BYTES, actual=size)
