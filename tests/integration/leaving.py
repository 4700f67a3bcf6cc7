"""A client by bare ASGI: httpx's cannot go away while it is answered."""

import asyncio
from typing import Any

from starlette.types import Message

from tests.integration.conftest import InProcess


async def post_and_leave(
    service: InProcess,
    leave: asyncio.Event,
    path: str,
    body: bytes,
    media_type: str = "image/jpeg",
) -> list[Message]:
    """What was sent to a client that goes away when `leave` is set."""
    sent: list[Message] = []
    arriving = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if arriving:
            return arriving.pop()
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await service.app(scope_of(path, len(body), media_type), receive, send)
    return sent


def scope_of(path: str, length: int, media_type: str = "image/jpeg") -> dict[str, Any]:
    """Of a POST with a body of that length."""
    headers = {"content-type": media_type, "content-length": str(length)}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
