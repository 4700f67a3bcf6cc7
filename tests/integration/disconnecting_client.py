"""An ASGI client that disconnects during the response, which the client of httpx cannot."""

import asyncio
from typing import Any

from starlette.types import Message

from tests.integration.conftest import InProcess


async def post_and_disconnect(
    service: InProcess,
    leave: asyncio.Event,
    path: str,
    body: bytes,
    media_type: str = "image/jpeg",
) -> list[Message]:
    """Posts `body`, disconnects when `leave` is set, and returns the messages of the response."""
    sent: list[Message] = []
    requests = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await service.app(scope_of(path, len(body), media_type), receive, send)
    return sent


def scope_of(path: str, length: int, media_type: str = "image/jpeg") -> dict[str, Any]:
    """Returns the ASGI scope of a POST with a body of `length` bytes."""
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
