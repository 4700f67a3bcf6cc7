"""Lightweight client: hand-made HTTP/1.1 over keep-alive connections.

It shares the processors with the measured server, so it does no more work than necessary.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Self

HOST = "127.0.0.1"
_NO_BODY = (204, 304)


@dataclass(frozen=True, slots=True)
class ExpectedRequest:
    """A whole request as bytes, with the expected status of its response."""

    request: bytes
    expected: int
    kind: str


def post(path: str, body: bytes, *, content_type: str = "image/jpeg", accept: str = "*/*") -> bytes:
    """Returns a POST request as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {content_type}\r\n"
        f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def get(path: str) -> bytes:
    """Returns a GET request as bytes."""
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode("ascii")


@dataclass(slots=True)
class RequestTally:
    """Counts and latencies of the responses to a run of requests."""

    responses: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    """Unexpected responses by `kind: status`."""
    seconds: list[float] = field(default_factory=list)
    """Seconds from the first byte sent to the last received, one per response."""

    def record(self, call: ExpectedRequest, status: int, seconds: float) -> None:
        """Counts a response; `seconds` is its latency."""
        self.responses += 1
        self.seconds.append(seconds)
        self.statuses[status] += 1
        if status != call.expected:
            self.unexpected[f"{call.kind}: {status}"] += 1


class Connection:
    """One keep-alive connection; it is reopened after the server closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Sends a request and returns status and body.

        Raises OSError or EOFError if the server is unreachable.
        """
        if self._streams is not None and self._streams[0].at_eof():
            self.close()  # idle for longer than the server keeps it
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        length = 0 if status in _NO_BODY else int(_header(head, b"content-length") or 0)
        body = await reader.readexactly(length) if length else b""
        if _header(head, b"connection") == b"close":
            self.close()
        return status, body

    def close(self) -> None:
        """Closes the connection; the next exchange opens it again."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _header(head: bytes, name: bytes) -> bytes | None:
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()


async def send_all(
    port: int, calls: Iterable[ExpectedRequest], *, clients: int, tally: RequestTally
) -> None:
    """Sends all calls; each client sends the next one after its last response."""
    remaining = iter(calls)

    async def client() -> None:
        async with Connection(port) as connection:
            for call in remaining:
                start = perf_counter()
                status, _ = await connection.exchange(call.request)
                tally.record(call, status, perf_counter() - start)

    await asyncio.gather(*(client() for _ in range(clients)))
