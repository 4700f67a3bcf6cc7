"""HTTP/1.1 protocol of uvicorn, with limits on the memory and time that a client can take.

uvicorn limits neither the bytes of a request's head (request line and headers), nor the time until
it has arrived. Nor does it limit pipelined requests, or the time to read a response. It drops the
requests of a client that closes its sending side, and those that arrive while it stops.
"""

import asyncio
import sys
from time import perf_counter
from typing import NoReturn

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from silhouette_seg.api.middleware.request_log import UNMATCHED_ROUTE, record_request
from silhouette_seg.api.middleware.security_headers import SECURITY_HEADERS
from silhouette_seg.api.problem_details import problem
from silhouette_seg.errors import BadRequest, BodyTooSlow, OutOfMemory, ServiceError
from silhouette_seg.server.state import SharedState
from silhouette_seg.telemetry import IDENTITY, Identity, RequestRecord, read_identity

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
LAST_REQUEST_S = 1.0
"""Time from the last use of a connection until a stop of the server closes it, in seconds.

A client that uses it all the time may have its next request on the way.
"""
PROBE_DELAYS_S = (1.0, 0.25)
"""Seconds before each probe of a client that has closed its sending side."""
PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Interim response, which every HTTP/1.1 client must skip (RFC 9110, 15.2).

A client that is gone resets the connection when it arrives. TCP has no other way to tell it from
one that still reads.
"""
UNKNOWN_METHOD = "-"
"""Method in the log line of a request that did not reach the application."""


class HttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 protocol class for `uvicorn.Config(http=...)`, which enforces the limits above.

    A request beyond a limit of its head gets a 400 or 408 problem document, and its connection is
    closed.
    """

    server_state: SharedState
    _began_at: float = 0.0
    """Time at which the connection or its newest request began, on the clock `perf_counter`."""
    _idle_since: float = 0.0
    """Time since which the connection is without a request, on the clock of the event loop."""
    _is_message_open: bool = False
    """True from the first byte of a request to the end of its body."""
    _head_bytes: int = 0
    """Bytes of the current request line and headers that the parser has read."""
    _unparsed_bytes: int = 0
    """Bytes received since the parser last completed a head, a chunk of a body, or a request."""
    _parse_error: ServiceError | None = None
    """Error for which this class stopped the parser; None if the parser found one itself."""
    _is_shedding: bool = False
    """True once the connection closes after its request, in favour of another process."""
    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None
    _probe_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._began_at, self._idle_since = perf_counter(), self.loop.time()
        self._start_head_timer(HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        self._end_shedding()
        super().connection_lost(exc)
        if self.server_state.port is not None:
            self.server_state.port.report(len(self.server_state.connections))

    def data_received(self, data: bytes) -> None:
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._send_error(_head_too_large(self._unparsed_bytes))

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn closes the connection
        """Keeps the connection open if the client ended its sending side after a whole request."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        if self.scope["http_version"] == "1.1":
            self._schedule_probe(PROBE_DELAYS_S)
        return True

    def shutdown(self) -> None:
        """Makes the next response of the connection its last; called when the server stops.

        A connection without a request is closed when it has been unused for `LAST_REQUEST_S`.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif not self._unparsed_bytes:
            unused_s = self.loop.time() - self._idle_since
            self._start_head_timer(max(0.0, LAST_REQUEST_S - unused_s))

    def handle_websocket_upgrade(self) -> None:
        self._cancel_timers()
        self._end_shedding()
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._began_at, self._is_message_open = perf_counter(), True
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
        if self.cycle is not None and (self.server_state.draining or self._sheds()):
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed_bytes = 0
        self._is_message_open = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        idle = not self.pipeline
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self._read_timer is None:
            self._schedule_read_check(self.transport.get_write_buffer_size())
        if idle and self._head_timer is None and not self.transport.is_closing():
            self._start_head_timer(KEEP_ALIVE_TIMEOUT_S)

    def send_400_response(self, msg: str) -> None:
        """Answers a request that the parser rejected; called while its exception is handled."""
        error = self._parse_error or BadRequest("The request is not valid HTTP/1.1.")
        self._send_error(OutOfMemory() if _has_run_out_of_memory() else error)

    def _sheds(self) -> bool:
        """Returns True if the connection closes because other processes have fewer."""
        port = self.server_state.port
        if port is not None and not self._is_shedding:
            self._is_shedding = port.begin_shedding()
        return self._is_shedding

    def _end_shedding(self) -> None:
        if self._is_shedding and self.server_state.port is not None:
            self._is_shedding = False
            self.server_state.port.end_shedding()

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

    def _schedule_probe(self, delays_s: tuple[float, ...]) -> None:
        if delays_s:
            self._probe_timer = self.loop.call_later(delays_s[0], self._probe, delays_s[1:])

    def _probe(self, delays_s: tuple[float, ...]) -> None:
        """Writes `PROBE` to a client that has not got a response yet; uvloop notices a reset."""
        if not (self.transport.is_closing() or self.cycle.response_started):
            self.transport.write(PROBE)
            self._schedule_probe(delays_s)

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._read_timer, self._probe_timer):
            if timer is not None:
                timer.cancel()

    def _send_error(self, error: ServiceError) -> None:
        """Answers a request that did not reach the application, and closes the connection.

        The answer is a problem document. It is counted and logged like those of the application.
        """
        identity = self._identify()
        token = IDENTITY.set(identity)
        try:
            response = problem({"path": "*"}, error)
            self._record(error, len(response.body))
        finally:
            IDENTITY.reset(token)
        response.headers.update(SECURITY_HEADERS)
        response.headers.update({"Connection": "close", "X-Request-Id": identity.request_id})
        lines = [b"%s: %s\r\n" % header for header in response.raw_headers]
        body = bytes(response.body)
        self.transport.write(b"".join((STATUS_LINE[error.status], *lines, b"\r\n", body)))
        self.transport.close()

    def _identify(self) -> Identity:
        """Returns the ids of the request that is arriving, from those of its headers that did."""
        headers = dict(self.headers) if self._is_message_open else {}
        request_id, traceparent = (
            headers.get(name, b"").decode("latin-1") for name in (b"x-request-id", b"traceparent")
        )
        return read_identity(request_id, traceparent)

    def _record(self, error: ServiceError, bytes_out: int) -> None:
        seconds = perf_counter() - self._began_at
        record = RequestRecord(
            UNMATCHED_ROUTE, error.status, error.code, seconds, bytes_out=bytes_out
        )
        record_request(self.server_state.telemetry, UNKNOWN_METHOD, record)


def _has_run_out_of_memory() -> bool:
    """Returns True if the parser stopped because a callback of it could not allocate memory."""
    error = sys.exception()
    return error is not None and isinstance(error.__context__, MemoryError)


def _head_too_large(size: int) -> BadRequest:
    return BadRequest("The headers have too many bytes.", limit=MAX_HEAD_BYTES, actual=size)
