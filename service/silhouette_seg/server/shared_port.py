"""Accepts the connections of a port that several processes share, so that all have as many.

The kernel gives a connection to the process that asks first, which may be the same each time. A
client with keep-alive would stay there, while another process has nothing to do. The process that
accepts a connection therefore passes it on to the one with the fewest. Requests in work count, too.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from silhouette_seg.runtime.process_group import REQUESTS, ProcessGroup

RETRY_S = 1.0
"""Seconds until the next attempt after an error of the system, such as too many open files."""
MIN_SURPLUS = 2
"""Connections more than those of another process from which on a process gives one up."""
_ROW = [
    ("accepts", np.bool_),
    ("open", np.int64),
    ("handed", np.int64),
    ("taken", np.int64),
]
"""Connections of one process: its open ones, those handed to it, and those that it took.

`accepts` is true while it accepts connections.
"""

log = logging.getLogger(__name__)


class SharedPort:
    """The port of a server with several processes, as one of them uses it.

    It is created before the processes of `group` are forked. From `start` to `close` it belongs to
    the running event loop.
    """

    def __init__(self, group: ProcessGroup) -> None:
        self._group = group
        self._rows = group.table("connections", _ROW)
        self._requests = group.table(REQUESTS, np.int64)
        self._channels = [
            socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(group.count)
        ]
        """Receiving and sending end of the channel over which each process gets connections."""
        for channel in self._channels:
            for end in channel:
                end.setblocking(False)
        self._listener: socket.socket | None = None
        self._create_protocol: Callable[[], asyncio.Protocol] = asyncio.Protocol
        self._pending: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._shedding = 0
        """Number of connections that close after their request."""

    def start(
        self, listener: socket.socket, create_protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        """Begins to accept connections on `listener`; each gets a protocol of its own."""
        listener.setblocking(False)
        self._listener, self._create_protocol = listener, create_protocol
        self._rows[self._group.index]["accepts"] = True
        loop = asyncio.get_running_loop()
        loop.add_reader(self._receiver, self._take_connections)
        self._listen(listener)

    def report(self, open_connections: int) -> None:
        """Tells the other processes the number of connections of this one."""
        self._rows[self._group.index]["open"] = open_connections + len(self._pending)

    def close(self) -> None:
        """Accepts no more connections, and takes those that were handed over before.

        The caller closes the socket of the port.
        """
        if self._listener is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        with self._group.lock():
            self._rows[self._group.index]["accepts"] = False
        self._take_connections()
        loop.remove_reader(self._receiver)
        self._listener = None

    def begin_shedding(self) -> bool:
        """Returns True if a connection should close after its request, because others have fewer.

        A process that was restarted would else have no work while all clients keep their
        connections to the other processes. Call `end_shedding` when the connection is closed.
        """
        rows = self._rows
        others = rows["accepts"].copy()
        others[self._group.index] = False
        if not others.any():
            return False
        fewest = int(rows["open"][others].min())
        if int(rows["open"][self._group.index]) - self._shedding < fewest + MIN_SURPLUS:
            return False
        self._shedding += 1
        return True

    def end_shedding(self) -> None:
        self._shedding -= 1

    @property
    def _receiver(self) -> socket.socket:
        return self._channels[self._group.index][0]

    def _listen(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was first, or the client has left
        except OSError as error:
            log.error("cannot accept a connection: %s", error.strerror)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            self._timer = loop.call_later(RETRY_S, self._listen, listener)
            return
        if not self._hand_over(connection):
            self._serve(connection)

    def _hand_over(self, connection: socket.socket) -> bool:
        """Passes a connection on to the process with the fewest; False if that is this one."""
        with self._group.lock():
            rows = self._rows
            counts = rows["open"] + rows["handed"] - rows["taken"] + self._requests
            fewest = int(np.where(rows["accepts"], counts, np.iinfo(np.int64).max).argmin())
            if counts[fewest] >= counts[self._group.index]:
                return False
            try:
                socket.send_fds(self._channels[fewest][1], [b"\0"], [connection.fileno()])
            except OSError:  # the channel is full
                return False
            rows[fewest]["handed"] += 1
        connection.close()
        return True

    def _take_connections(self) -> None:
        own = self._rows[self._group.index]
        with suppress(BlockingIOError):
            while True:
                _, descriptors, _, _ = socket.recv_fds(self._receiver, 1, 1)
                with self._group.lock():
                    # A process that was restarted takes those handed to the one before it, too.
                    own["taken"] = min(own["taken"] + 1, own["handed"])
                for descriptor in descriptors:
                    self._serve(socket.socket(fileno=descriptor))

    def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._rows[self._group.index]["open"] += 1
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(
            self._connect(connection)
        )
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(self._create_protocol, connection)
