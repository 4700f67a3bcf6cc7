"""A client of `WS /v1/stream` for an application in process, and helpers for its messages.

The test decides when the client reads.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from silhouette_seg.streaming.protocol import (
    SUBPROTOCOL,
    MessageHeader,
    MessageKind,
    ResultHeader,
    pack,
    text_message,
    unpack,
    unpack_result,
)
from tests.integration.conftest import PATIENCE_S
from tests.support.images import make_jpeg, quadrants

JPEG = make_jpeg(quadrants())


def config(**options: object) -> str:
    return text_message("config", options)


def frame(seq: int = 0, picture: bytes = JPEG, *, timestamp: int = 0) -> bytes:
    return pack(MessageHeader(MessageKind.FRAME, seq, timestamp), picture)


BAD_FRAME = frame(0, b"no picture")


def result_of(message: bytes) -> tuple[MessageHeader, ResultHeader, bytes]:
    header, body = unpack(message)
    assert header.kind is MessageKind.RESULT, bytes(body)
    result, image = unpack_result(body)
    return header, result, bytes(image)


def error_of(message: bytes) -> tuple[MessageHeader, dict[str, Any]]:
    header, body = unpack(message)
    assert header.kind is MessageKind.ERROR
    return header, json.loads(bytes(body))


class ClosedByServer(Exception):
    """The application closed the stream with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class AsgiClient:
    """A WebSocket client without a socket.

    While `reads` is not set, messages from the application block, as with a full send buffer.
    """

    def __init__(self, app: Any, scope: dict[str, Any]) -> None:
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._disconnected = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.blocked = 0
        """Number of messages that are blocked."""
        self._to_app.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(app(scope, self._to_app.get, self._send))

    @property
    def unread(self) -> int:
        """Number of messages that the application has not read."""
        return self._to_app.qsize()

    def send(self, message: bytes | str) -> None:
        kind = "text" if isinstance(message, str) else "bytes"
        self._to_app.put_nowait({"type": "websocket.receive", kind: message})

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            return await self._from_app.get()

    async def receive(self) -> Any:
        """Returns the next message: parsed JSON or bytes. Raises ClosedByServer."""
        message = await self.next()
        if message["type"] == "websocket.close":
            raise ClosedByServer(message["code"], message["reason"])
        assert message["type"] == "websocket.send"
        return json.loads(message["text"]) if message.get("text") else message["bytes"]

    async def end(self) -> ClosedByServer:
        """Returns the close of the stream. Fails if another message precedes it."""
        try:
            raise AssertionError(f"not closed, but sent {await self.receive()}")
        except ClosedByServer as closed:
            return closed

    async def leave(self, code: int = 1001) -> None:
        """Disconnects, and returns when the application has finished."""
        self._disconnected.set()
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": code})
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([self.task])

    async def _send(self, message: Mapping[str, Any]) -> None:
        if not self.reads.is_set():
            self.blocked += 1
            waits = [
                asyncio.create_task(event.wait()) for event in (self.reads, self._disconnected)
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.blocked -= 1
                for task in waits:
                    task.cancel()
        if self._disconnected.is_set():
            raise OSError("the peer is gone")
        self._from_app.put_nowait(dict(message))


@asynccontextmanager
async def connected(
    app: Any,
    *,
    subprotocols: tuple[str, ...] = (SUBPROTOCOL,),
    address: str = "127.0.0.1",
    **headers: str,
) -> AsyncIterator[AsgiClient]:
    """Yields an accepted client, and waits for the application to finish afterwards."""
    sent_headers = {
        "host": "silhouette",
        **{name.replace("_", "-"): headers[name] for name in headers},
    }
    peer = AsgiClient(
        app,
        {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/v1/stream",
            "raw_path": b"/v1/stream",
            "root_path": "",
            "query_string": b"",
            "headers": [
                (name.encode(), value.encode("latin-1")) for name, value in sent_headers.items()
            ],
            "client": (address, 1),
            "server": ("127.0.0.1", 80),
            "subprotocols": list(subprotocols),
            "state": {},
            "extensions": {},
        },
    )
    try:
        accepted = await peer.next()
        assert accepted["type"] == "websocket.accept"
        assert accepted["subprotocol"] == (SUBPROTOCOL if SUBPROTOCOL in subprotocols else None)
        yield peer
    finally:
        await peer.leave()
        peer.task.result()


@asynccontextmanager
async def streaming(app: Any, **options: object) -> AsyncIterator[AsgiClient]:
    """Yields a client with a stream that is ready for frames."""
    async with connected(app) as peer:
        peer.send(config(**options))
        assert (await peer.receive())["type"] == "ready"
        yield peer
