"""`python -m tests.memory.leaking BYTES serve ...`: the service with a leak planted into it."""

import sys

from starlette.types import ASGIApp, Receive, Scope, Send

from silhouette_seg.cli.main import main
from silhouette_seg.server import server
from silhouette_seg.settings import Settings


class Leaking:
    """Middleware that keeps so many bytes of every request for ever."""

    def __init__(self, app: ASGIApp, *, size: int) -> None:
        self._app = app
        self._size = size
        self._kept: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._kept.append(b"\x01" * self._size)
        await self._app(scope, receive, send)


class LeakingServer(server.Server):
    size = 0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.app.add_middleware(Leaking, size=self.size)


if __name__ == "__main__":
    LeakingServer.size = int(sys.argv.pop(1))
    server.Server = LeakingServer  # type: ignore[misc]
    main()
