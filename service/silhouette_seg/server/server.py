"""Runs the application in uvicorn: the port first, then the models, and an orderly end."""

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
from silhouette_seg.server.http_protocol import KEEP_ALIVE_S, HttpConnection
from silhouette_seg.server.malloc import share_arenas
from silhouette_seg.server.websocket_protocol import Connection
from silhouette_seg.settings import Settings
from silhouette_seg.telemetry import logging_config

CLOSE_TIMEOUT_S = 2
"""Given to connections to close after the drain, before they are cut."""
PING_EVERY_S = 3
PING_TIMEOUT_S = 6
"""A WebSocket peer that vanished without a word, or stopped reading, is cut off after at most the
two together: its place is free within ten seconds."""

log = logging.getLogger(__name__)


class CannotListen(Exception):
    """The address cannot be bound; the message says why in one line."""


class Server(uvicorn.Server):
    """Keeps its port open while it drains, so that clients hear a 503 and not a reset."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self._drain_timeout_s = settings.drain_timeout_s
        self._draining: asyncio.Task[None] | None = None
        super().__init__(
            uvicorn.Config(
                self.app,
                loop="auto",
                http=HttpConnection,
                ws=Connection,
                ws_max_size=settings.max_frame_bytes,
                ws_ping_interval=PING_EVERY_S,
                ws_ping_timeout=PING_TIMEOUT_S,
                ws_per_message_deflate=False,  # pictures do not get smaller
                server_header=False,
                access_log=False,
                log_config=None,
                timeout_keep_alive=round(KEEP_ALIVE_S),
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
        """A second Ctrl-C ends the drain."""
        super().handle_exit(sig, frame)
        if self.force_exit and self._draining is not None:
            self._draining.get_loop().call_soon_threadsafe(self._draining.cancel)


def bind(host: str, port: int) -> socket.socket:
    """Listens on the address; raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"Port {port} on {host} is taken by another program.") from error
        raise CannotListen(f"Cannot listen on {host} port {port}: {error.strerror}.") from error


def write_no_core_dumps() -> None:
    """The memory of a process that crashes holds photos and keys, and a core file is on a disk.

    A system that pipes dumps to a program of its own is told the limit, and is to heed it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _an_end_in_order() -> Iterator[None]:
    """uvicorn raises the signal that stopped it once more when it is done, and by that the process
    would die: to whoever asked it to stop it has not failed.
    """
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def serve(settings: Settings) -> None:
    """Serves until a signal; raises CannotListen, or what `create_app` raises.

    SIGTERM then raises SystemExit: the process ends with 0.
    """
    share_arenas()
    write_no_core_dumps()
    with _an_end_in_order(), bind(settings.host, settings.port) as listener:
        server = Server(settings)
        logging.config.dictConfig(logging_config(settings.log_format))
        log.info("listening on %s", url_of(listener))
        server.run(sockets=[listener])
