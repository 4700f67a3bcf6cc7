"""WebSocket protocol of uvicorn, with timeouts for clients that are gone or do not read.

uvicorn closes a transport and then waits until everything written has been sent. A client that is
gone, or does not read, would hold that connection for ever.
"""

import asyncio
import logging
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

LINGER_S = 5.0
"""Seconds for a client to read the last messages and to answer the close message."""
LARGE_MESSAGE_BYTES = 256 * 2**10
"""Bytes of a message still arriving above which the client has more time to answer a ping.

A camera frame is smaller. The answer waits behind a larger message, which may take longer than the
ping timeout.
"""
PONG_GRACE_S = 0.5
"""Seconds to read the answer to a ping that may be buffered when its timeout expires."""
QUIET_BEFORE_CLOSE_S = 0.5
"""Seconds without a byte from the client, after an error, before the connection closes."""

# uvicorn logs the path and query of each connection, and the client chooses their text.
_logger = logging.getLogger("uvicorn.websockets")
_logger.setLevel(logging.WARNING)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket protocol class for `uvicorn.Config(ws=...)`, which adds the timeouts above."""

    _abort_timer: asyncio.TimerHandle | None = None
    _pong_grace_used: bool = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.logger = _logger
        super().connection_made(transport)

    async def send(self, message: Any) -> None:  # noqa: ANN401  # as in uvicorn
        """Sends an ASGI message to the client.

        Raises ClientDisconnected if either side has closed the connection; uvicorn raises
        RuntimeError if it is this side.
        """
        try:
            await super().send(message)
        except RuntimeError:
            if self.close_sent:
                raise ClientDisconnected from None
            raise

    def data_received(self, data: bytes) -> None:
        if self.conn.parser_exc is not None:
            self._close_when_quiet()
            return
        super().data_received(data)
        # A pong waits behind a large message that is still arriving.
        if len(self.conn.reader.buffer) > LARGE_MESSAGE_BYTES and self.pong_timer is not None:
            self.pong_timer.cancel()
            self.pong_timer = self.loop.call_later(self.ping_timeout or 0, self.keepalive_timeout)

    def send_receive_event_to_app(self) -> None:
        """Passes a received message to the application.

        A text message that is not UTF-8 closes the connection with 1007; uvicorn would log a
        traceback.
        """
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            self.conn.fail(1007, "text is UTF-8")
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    def shutdown(self) -> None:
        """Ends the connection when the server stops.

        A connection with a close message on its way is left to the client's answer: closed with
        unread frames, it would be reset, and the client would lose the last messages.
        """
        if not self.close_sent:
            super().shutdown()

    def handle_ping(self) -> None:
        """Answers a ping, unless the client does not read: pongs would fill the send buffer."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_parser_exception(self) -> None:
        """Ends a connection after a protocol error of the client.

        Sends the close message, then discards bytes until the client sends no more. Closing a
        socket with unread bytes resets it. A client that still sends 30 MB would never read the
        close message.
        """
        closed = self.conn.close_sent
        assert closed is not None, "a failed parser has written a close message"
        self._queue_disconnect(closed.code, closed.reason)
        self.stop_keepalive()
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._close_when_quiet()

    def send_keepalive_ping(self) -> None:
        self._pong_grace_used = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        if not self._pong_grace_used:
            # If this event loop was blocked, the pong may already be buffered: check once more.
            self._pong_grace_used = True
            self.pong_timer = self.loop.call_later(PONG_GRACE_S, self.keepalive_timeout)
            return
        if not (self.close_sent or self.transport.is_closing()):
            self._queue_disconnect(1011, "keepalive ping timeout")
            super().keepalive_timeout()
            self.transport.abort()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self._abort_timer = self.loop.call_later(LINGER_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)

    def _close_when_quiet(self) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(QUIET_BEFORE_CLOSE_S, self.transport.close)

    def _queue_disconnect(self, code: int, reason: str) -> None:
        """Queues the ASGI event `websocket.disconnect`, with close code and reason."""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
