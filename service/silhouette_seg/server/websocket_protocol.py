"""uvicorn's WebSocket connection, with an end for each way in which a peer can stop talking.

uvicorn closes a transport and then waits until all that was written has left it: for a peer that
is gone, or does not read, that is never. Here every such wait has an end.
"""

import asyncio
import logging
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

LINGER_S = 5.0
"""For a peer to take what was written before the end, and to answer our close."""
LARGE = 256 * 2**10
"""Bytes of a message that may take longer than a ping; a frame of a camera has fewer."""
LOOK_AGAIN_S = 0.5
"""For a pong that is late, to be read."""
QUIET_S = 0.5
"""Without a byte from a peer that was told why we close, until we do."""

# uvicorn tells the path of each connection, query and all, which a client made up.
_quiet = logging.getLogger("uvicorn.websockets")
_quiet.setLevel(logging.WARNING)


class Connection(WebSocketsSansIOProtocol):
    """For `uvicorn.Config(ws=...)`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _quiet
        self._cut: asyncio.TimerHandle | None = None
        self._looked_again = False

    async def send(self, message: Any) -> None:  # noqa: ANN401  # as in uvicorn
        """An application that does not know yet that we closed is told as when the peer did."""
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
        # A pong has to wait behind a large message that is still on its way.
        if len(self.conn.reader.buffer) > LARGE and self.pong_timer is not None:
            self.pong_timer.cancel()
            self.pong_timer = self.loop.call_later(self.ping_timeout or 0, self.keepalive_timeout)

    def send_receive_event_to_app(self) -> None:
        """Text that is no UTF-8 is the peer's mistake: uvicorn would log a traceback of ours."""
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            self.conn.fail(1007, "text is UTF-8")
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Answers only a peer that reads: its pongs would pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_parser_exception(self) -> None:
        """Says why, then drops what still arrives.

        Closing with unread bytes resets the connection, and a peer that is still sending thirty
        megabytes would never see why.
        """
        closed = self.conn.close_sent
        assert closed is not None, "a parser that fails has written a close message"
        self._tell(closed.code, closed.reason)
        self.stop_keepalive()
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._close_when_quiet()

    def send_keepalive_ping(self) -> None:
        self._looked_again = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        if not self._looked_again:
            # Where it was us who stood still, the pong may be there and only not read yet.
            self._looked_again = True
            self.pong_timer = self.loop.call_later(LOOK_AGAIN_S, self.keepalive_timeout)
            return
        if not (self.close_sent or self.transport.is_closing()):
            self._tell(1011, "keepalive ping timeout")
            super().keepalive_timeout()
            self.transport.abort()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self._cut = self.loop.call_later(LINGER_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._cut is not None:
            self._cut.cancel()
        super().connection_lost(exc)

    def _close_when_quiet(self) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(QUIET_S, self.transport.close)

    def _tell(self, code: int, reason: str) -> None:
        """The application, what it would hear of a peer that closed."""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
