"""HTTP server that answers with one mask, in the test's process or in its own."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
MASK_HW = 720, 1280


def mask_png(share: float = 0.5) -> bytes:
    """Returns a mask of `MASK_HW` as PNG; this share of it, on the left, is the person."""
    import cv2  # a server process starts faster without these imports
    import numpy as np

    mask = np.zeros(MASK_HW, np.uint8)
    mask[:, : int(share * MASK_HW[1])] = 255
    return cv2.imencode(".png", mask)[1].tobytes()


@dataclass
class MaskServer:
    """Fake mask service. It answers GET at once and POST as its attributes say."""

    mask: bytes = field(default_factory=mask_png)
    max_waiting: int = 1000
    """Requests that may wait; further ones get a 503."""
    drops_connection: bool = False
    """The server closes the connection instead of sending a response."""
    status: int = 200
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """The server sends masks while this event is set."""
    waiting: int = 0
    """Number of requests that wait for `gate`."""
    peak_waiting: int = 0
    """Largest value of `waiting` so far."""
    requests: int = 0
    """Number of requests for a mask so far."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.gate.set()

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[int]:
        """Serves for the duration of the block; yields the port."""
        async with await asyncio.start_server(self._accept, HOST, port) as server:
            yield server.sockets[0].getsockname()[1]
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def wait_requests(self, count: int) -> None:
        """Returns once the server has received this many requests for a mask."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.requests >= count)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._handle(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError, OSError), closing(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                (length,) = [int(x[15:]) for x in lines if x.startswith(b"content-length:")] or [0]
                await reader.readexactly(length)
                if head.startswith(b"GET"):
                    writer.write(_response(200, b"fine"))
                elif self.drops_connection:
                    break
                else:
                    writer.write(await self._mask())

    async def _mask(self) -> bytes:
        full = self.waiting >= self.max_waiting
        self.waiting += not full
        self.peak_waiting = max(self.waiting, self.peak_waiting)
        async with self.changed:
            self.requests += 1
            self.changed.notify_all()
        if full:
            return _response(503, b"later")
        await self.gate.wait()
        self.waiting -= 1
        return _response(self.status, self.mask)


def _response(status: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def _serve(port: int, mask: bytes) -> None:
    async with MaskServer(mask).serving(port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("mask", type=Path)
    options = parser.parse_args()
    asyncio.run(_serve(options.port, options.mask.read_bytes()))
