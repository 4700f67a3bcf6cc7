"""Runs the service with a planted leak: `python -m tests.memory.leaking BYTES serve ...`."""

import sys

from starlette.types import ASGIApp, Receive, Scope, Send

from silhouette_seg.__main__ import main
from silhouette_seg.server import serve, server
from silhouette_seg.settings import Settings


class LeakingMiddleware:
    """Middleware that keeps `size` bytes for each request for ever."""

    def __init__(self, app: ASGIApp, *, size: int) -> None:
        self._app = app
        self._size = size
        self._leaked: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._leaked.append(b"\x01" * self._size)
        await self._app(scope, receive, send)


class LeakingServer(server.Server):
    size = 0
    """Bytes leaked for each request."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.app.add_middleware(LeakingMiddleware, size=self.size)


if __name__ == "__main__":
    LeakingServer.size = int(sys.argv.pop(1))
    serve.Server = LeakingServer  # type: ignore[misc]
    main()
