"""The uvicorn server of the service: loads the models, serves, and shuts down in order."""

import asyncio
import errno
import logging
import signal
import socket
from contextlib import suppress
from math import ceil
from pathlib import Path
from types import FrameType

import uvicorn

from silhouette_seg.app import create_app
from silhouette_seg.lifecycle import drain
from silhouette_seg.runtime.process_group import ProcessGroup
from silhouette_seg.server.accept_queue import accept_all
from silhouette_seg.server.forwarded import ForwardedMiddleware
from silhouette_seg.server.http_protocol import KEEP_ALIVE_TIMEOUT_S, HttpProtocol
from silhouette_seg.server.shared_port import SharedPort
from silhouette_seg.server.state import SharedState
from silhouette_seg.server.websocket_protocol import WebSocketProtocol
from silhouette_seg.settings import Settings

CLOSE_TIMEOUT_S = 2
"""Least seconds for connections to close after the running requests have finished.

They have the rest of the drain, if that is longer: a slow client reads its whole response.
"""
PING_INTERVAL_S = 3
"""Seconds between pings to a WebSocket client."""
PING_TIMEOUT_S = 6
"""Seconds for a WebSocket client to answer a ping.

A client that is gone or does not read is disconnected within ten seconds. That is at most
`PING_INTERVAL_S` plus this timeout.
"""

log = logging.getLogger(__name__)


class CannotListen(Exception):
    """The address cannot be bound. The message has address, port and reason in one line."""


class Server(uvicorn.Server):
    """uvicorn server of the service. It loads the models when it is created.

    At shutdown it keeps its port open while running requests finish: new ones get a 503 instead of
    a connection reset. Each response is then the last of its connection.
    """

    def __init__(
        self,
        settings: Settings,
        group: ProcessGroup | None = None,
        shared_folder: Path | None = None,
    ) -> None:
        self.app = create_app(settings, group, shared_folder)
        self._drain_timeout_s = settings.drain_timeout_s
        self._draining: asyncio.Task[None] | None = None
        self._supervisor: int | None = None
        self._port = SharedPort(group) if group and group.count > 1 else None
        super().__init__(
            uvicorn.Config(
                ForwardedMiddleware(
                    self.app, trusted=settings.trusted_proxies, read=settings.proxy_headers
                ),
                proxy_headers=False,  # uvicorn's own default trusts every program of this machine
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

        self.server_state: SharedState = SharedState(self.app.state.gateway.telemetry, self._port)

    def stop_at_end_of(self, supervisor: int) -> None:
        """Makes the server stop in order if the other end of the pipe `supervisor` is closed."""
        self._supervisor = supervisor

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._supervisor is not None:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._supervisor, self._on_supervisor_lost, self._supervisor)
        if self._port is None or not sockets:
            await super().startup(sockets)
            return
        shared, *own = sockets
        await super().startup(own)
        self._port.start(shared, self._create_protocol)

    async def on_tick(self, counter: int) -> bool:
        if self._port is not None:
            self._port.report(len(self.server_state.connections))
        return await super().on_tick(counter)

    def _create_protocol(self) -> HttpProtocol:
        return HttpProtocol(self.config, self.server_state, self.lifespan.state)

    def _on_supervisor_lost(self, supervisor: int) -> None:
        asyncio.get_running_loop().remove_reader(supervisor)
        log.error("the supervisor has ended; this process stops")
        self.handle_exit(signal.SIGTERM, None)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops the server: running requests and streams end, then responses are read.

        Both together have the setting `drain_timeout_s`.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._drain_timeout_s
        self.server_state.draining = True
        drained = drain(self.app.state.gateway, self._drain_timeout_s)
        self._draining = asyncio.create_task(drained)
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpProtocol):
                connection.shutdown()
        with suppress(asyncio.CancelledError):
            await self._draining
        for listener in sockets or ():
            await accept_all(listener)
        if self._port is not None:
            self._port.close()
        self.config.timeout_graceful_shutdown = max(CLOSE_TIMEOUT_S, ceil(deadline - clock()))
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handles a stop signal. The second Ctrl-C ends the wait for running requests."""
        super().handle_exit(sig, frame)
        if self.force_exit and self._draining is not None:
            self._draining.get_loop().call_soon_threadsafe(self._draining.cancel)


def bind(host: str, port: int) -> socket.socket:
    """Returns a TCP socket that listens on host and port.

    Raises CannotListen if the port is taken or the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"Port {port} on {host} is taken by another program.") from error
        raise CannotListen(f"Cannot listen on {host} port {port}: {error.strerror}.") from error
