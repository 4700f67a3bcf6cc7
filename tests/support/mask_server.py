"""A server of one mask, in the test's own process or as one of its own."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
MASK_HW = 720, 1280


def mask_png(share: float = 0.5) -> bytes:
    """The person is that share of it, on the left."""
    import cv2  # late: as a process of its own the server starts at once
    import numpy as np

    mask = np.zeros(MASK_HW, np.uint8)
    mask[:, : int(share * MASK_HW[1])] = 255
    return cv2.imencode(".png", mask)[1].tobytes()


@dataclass
class MaskServer:
    """Does what it is told; anything that is asked by GET is answered at once."""

    mask: bytes = field(default_factory=mask_png)
    room: int = 1000
    """Requests that may wait; more are refused."""
    leaves: bool = False
    """Closes the connection instead of an answer."""
    status: int = 200
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Masks are given while it is set."""
    waiting: int = 0
    most_waiting: int = 0
    asked: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    _talks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.gate.set()

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[int]:
        async with await asyncio.start_server(self._accept, HOST, port) as server:
            yield server.sockets[0].getsockname()[1]
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def until_asked(self, times: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.asked >= times)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.create_task(self._converse(reader, writer))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError, OSError), closing(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                (length,) = [int(x[15:]) for x in lines if x.startswith(b"content-length:")] or [0]
                await reader.readexactly(length)
                if head.startswith(b"GET"):
                    writer.write(_answer(200, b"fine"))
                elif self.leaves:
                    break
                else:
                    writer.write(await self._mask())

    async def _mask(self) -> bytes:
        full = self.waiting >= self.room
        self.waiting += not full
        self.most_waiting = max(self.waiting, self.most_waiting)
        async with self.changed:
            self.asked += 1
            self.changed.notify_all()
        if full:
            return _answer(503, b"later")
        await self.gate.wait()
        self.waiting -= 1
        return _answer(self.status, self.mask)


def _answer(status: int, body: bytes) -> bytes:
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
