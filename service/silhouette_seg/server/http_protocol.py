"""HTTP/1.1 protocol of uvicorn, with limits on the memory and time that a client can take.

uvicorn limits neither the bytes of a request's head (request line and headers), nor the time until
it has arrived. Nor does it limit pipelined requests, or the time to read a response.
"""

import asyncio
from typing import NoReturn

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from silhouette_seg.api.middleware.security_headers import SECURITY_HEADERS
from silhouette_seg.api.problem_details import problem
from silhouette_seg.errors import BadRequest, BodyTooSlow, ServiceError
from silhouette_seg.telemetry import IDENTITY, read_identity

MAX_HEAD_BYTES = 32 * 1024
"""Maximum bytes of a request's head (request line and headers), and of its trailer."""
MAX_PIPELINED_REQUESTS = 64
"""Maximum number of requests of one connection that wait for the response to an earlier one."""
HEAD_TIMEOUT_S = 10.0
"""Time for the head of a request to arrive, in seconds.

It runs from the connection, or from the first byte of a later request, to the last header.
"""
KEEP_ALIVE_TIMEOUT_S = 75.0
"""Time from a response to the next request, in seconds.

It is longer than proxies keep idle connections: a request that meets a closing connection fails.
"""
MIN_READ_BYTES = 64 * 1024
"""Minimum bytes of a response that a client must read in each `READ_CHECK_INTERVAL_S`."""
READ_CHECK_INTERVAL_S = 10.0
"""Interval, in seconds, at which the progress of an unread response is checked.

The connection of a client that reads too slowly is aborted.
"""


class HttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 protocol class for `uvicorn.Config(http=...)`, which enforces the limits above.

    A request beyond a limit of its head gets a 400 or 408 problem document, and its connection is
    closed.
    """

    _head_bytes: int = 0
    """Bytes of the current request line and headers that the parser has read."""
    _unparsed_bytes: int = 0
    """Bytes received since the parser last completed a head, a chunk of a body, or a request."""
    _parse_error: ServiceError | None = None
    """Error for which this class stopped the parser; None if the parser found one itself."""
    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer(HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._send_error(_head_too_large(self._unparsed_bytes))

    def handle_websocket_upgrade(self) -> None:
        self._cancel_timers()
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._start_head_timer(HEAD_TIMEOUT_S)

    def on_url(self, url: bytes) -> None:
        self._count_head(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unparsed_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if len(self.pipeline) >= MAX_PIPELINED_REQUESTS:
            self._stop_parser(
                BadRequest(
                    "Too many pipelined requests wait for a response.", limit=MAX_PIPELINED_REQUESTS
                )
            )
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        idle = not self.pipeline
        super().on_response_complete()
        if self._read_timer is None:
            self._schedule_read_check(self.transport.get_write_buffer_size())
        if idle and self._head_timer is None and not self.transport.is_closing():
            self._start_head_timer(KEEP_ALIVE_TIMEOUT_S)

    def send_400_response(self, msg: str) -> None:
        self._send_error(self._parse_error or BadRequest("The request is not valid HTTP/1.1."))

    def _count_head(self, *pieces: bytes) -> None:
        self._head_bytes += sum(map(len, pieces))
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop_parser(_head_too_large(self._head_bytes))

    def _stop_parser(self, error: ServiceError) -> NoReturn:
        """Stops the parser by raising `error`; uvicorn then calls `send_400_response`."""
        self._parse_error = error
        raise error

    def _start_head_timer(self, seconds: float) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(seconds, self._on_head_timeout)

    def _on_head_timeout(self) -> None:
        if self.transport.is_closing():
            return
        if self._unparsed_bytes:
            self._send_error(
                BodyTooSlow("The headers did not arrive in time.", limit=HEAD_TIMEOUT_S)
            )
        else:
            self.transport.close()

    def _schedule_read_check(self, pending: int) -> None:
        """Schedules the next check of the client's reading.

        `pending` is the number of response bytes that are still unsent; 0 schedules none.
        """
        self._read_timer = None
        if pending:
            self._read_timer = self.loop.call_later(
                READ_CHECK_INTERVAL_S, self._check_read_progress, pending
            )

    def _check_read_progress(self, previous: int) -> None:
        pending = self.transport.get_write_buffer_size()
        if pending > max(0, previous - MIN_READ_BYTES):
            self.transport.abort()
        else:
            self._schedule_read_check(pending)

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._read_timer):
            if timer is not None:
                timer.cancel()

    def _send_error(self, error: ServiceError) -> None:
        """Writes a problem document for a request that did not reach the application.

        Then it closes the connection.
        """
        identity = read_identity(None, None)
        token = IDENTITY.set(identity)
        try:
            response = problem({"path": "*"}, error)
        finally:
            IDENTITY.reset(token)
        response.headers.update(SECURITY_HEADERS)
        response.headers.update({"Connection": "close", "X-Request-Id": identity.request_id})
        lines = [b"%s: %s\r\n" % header for header in response.raw_headers]
        body = bytes(response.body)
        self.transport.write(b"".join((STATUS_LINE[error.status], *lines, b"\r\n", body)))
        self.transport.close()


def _head_too_large(size: int) -> BadRequest:
    return BadRequest("The headers have too many bytes.", limit=MAX_HEAD_BYTES, actual=size)
