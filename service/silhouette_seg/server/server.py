"""Runs the application in uvicorn: binds the port, loads the models, serves, and drains."""

import asyncio
import errno
import logging
import logging.config
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

import uvicorn

from silhouette_seg.app import create_app
from silhouette_seg.lifecycle import drain
from silhouette_seg.server.http_protocol import KEEP_ALIVE_TIMEOUT_S, HttpProtocol
from silhouette_seg.server.malloc import limit_malloc_arenas
from silhouette_seg.server.websocket_protocol import WebSocketProtocol
from silhouette_seg.settings import Settings
from silhouette_seg.telemetry import logging_config

CLOSE_TIMEOUT_S = 2
"""Time for connections to close after the drain, in seconds."""
PING_INTERVAL_S = 3
"""Interval between pings to a WebSocket peer, in seconds."""
PING_TIMEOUT_S = 6
"""Time for a WebSocket peer to answer a ping, in seconds.

A peer that vanished or stopped reading loses its place after at most interval and timeout together,
within ten seconds.
"""

log = logging.getLogger(__name__)


class CannotListen(Exception):
    """The address cannot be bound. The message gives the reason in one line."""


class Server(uvicorn.Server):
    """uvicorn server that keeps its port open while it drains: clients get a 503, not a reset."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self._drain_timeout_s = settings.drain_timeout_s
        self._draining: asyncio.Task[None] | None = None
        super().__init__(
            uvicorn.Config(
                self.app,
                loop="auto",
                http=HttpProtocol,
                ws=WebSocketProtocol,
                ws_max_size=settings.max_frame_bytes,
                ws_ping_interval=PING_INTERVAL_S,
                ws_ping_timeout=PING_TIMEOUT_S,
                ws_per_message_deflate=False,  # images are compressed already
                server_header=False,
                access_log=False,
                log_config=None,
                timeout_keep_alive=round(KEEP_ALIVE_TIMEOUT_S),
                timeout_graceful_shutdown=CLOSE_TIMEOUT_S,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        drained = drain(self.app.state.gateway, self._drain_timeout_s)
        self._draining = asyncio.create_task(drained)
        with suppress(asyncio.CancelledError):
            await self._draining
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handles a signal; the second Ctrl-C ends the drain."""
        super().handle_exit(sig, frame)
        if self.force_exit and self._draining is not None:
            self._draining.get_loop().call_soon_threadsafe(self._draining.cancel)


def bind(host: str, port: int) -> socket.socket:
    """Returns a socket that listens on the address. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"Port {port} on {host} is taken by another program.") from error
        raise CannotListen(f"Cannot listen on {host} port {port}: {error.strerror}.") from error


def disable_core_dumps() -> None:
    """Disables core dumps, which would write photos and keys to disk.

    A handler that the kernel pipes dumps to receives the limit of 0 and is expected to respect it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def listener_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _exit_zero_on_sigterm() -> Iterator[None]:
    """Makes SIGTERM exit with 0 within the block.

    uvicorn raises the signal again after its shutdown, but a requested stop is no failure.
    """
    previous = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def serve(settings: Settings) -> None:
    """Serves until a signal. Raises CannotListen and the errors of `create_app`.

    SIGTERM raises SystemExit after the drain, so that the process exits with 0.
    """
    limit_malloc_arenas()
    disable_core_dumps()
    with _exit_zero_on_sigterm(), bind(settings.host, settings.port) as listener:
        server = Server(settings)
        logging.config.dictConfig(logging_config(settings.log_format))
        log.info("listening on %s", listener_url(listener))
        server.run(sockets=[listener])
