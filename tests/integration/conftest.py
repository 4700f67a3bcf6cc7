"""Applications in process and servers on real sockets. Their model returns red as alpha."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from silhouette_seg.api.gateway import Gateway
from silhouette_seg.app import create_app
from silhouette_seg.engine import ENGINES
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.server.server import Server, bind
from silhouette_seg.settings import Settings
from tests.support import fakes
from tests.support.tiny_model import write_tiny_model

PATIENCE_S = 20


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model_repository")
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def settings_with(repository) -> Callable[..., Settings]:
    def make(**overrides: Any) -> Settings:
        return Settings(**{"model_repository": repository, "workers": 2, **overrides})

    return make


@dataclass(frozen=True)
class InProcess:
    """An application and a client that calls it without a socket."""

    app: Any
    client: httpx.AsyncClient

    @property
    def gateway(self) -> Gateway:
        return self.app.state.gateway

    async def segment(self, image: bytes, query: str = "", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(
            f"/v1/segment{query}", content=image, headers={"content-type": "image/jpeg", **named}
        )

    async def form(self, *fields: tuple[str, Any], query: str = "") -> httpx.Response:
        """Posts a form; each field is (name, bytes of a file) or (name, text)."""
        files = [
            (name, ("photo.jpg", value) if isinstance(value, bytes) else (None, value))
            for name, value in fields
        ]
        return await self.client.post(f"/v1/segment{query}", files=files)


@asynccontextmanager
async def in_process(settings: Settings, *, ready: bool = True) -> AsyncIterator[InProcess]:
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://silhouette") as client,
    ):
        running = InProcess(app, client)
        if ready:
            await until(lambda: running.gateway.registry.ready)
        yield running


async def until(condition: Callable[[], bool]) -> None:
    """Waits until the code under test makes the condition true."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # no event announces it
            await asyncio.sleep(0.001)


@pytest.fixture
async def service(settings_with) -> AsyncIterator[InProcess]:
    async with in_process(settings_with()) as running:
        yield running


@pytest.fixture
def gated(monkeypatch) -> Iterator[list[FakeEngine]]:
    """Registers `engine="gated"`, and yields its engines, which a test can block."""
    monkeypatch.setitem(ENGINES, "gated", "tests.support.fakes:open_gated")
    fakes.OPENED.clear()
    yield fakes.OPENED
    fakes.OPENED.clear()


@dataclass(frozen=True)
class OnSocket:
    """A server in its own thread, on a port of the loopback interface."""

    server: Server
    port: int
    thread: threading.Thread

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def gateway(self) -> Gateway:
        return self.server.app.state.gateway

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "the condition never became true"
            time.sleep(0.002)


@contextmanager
def on_socket(settings: Settings) -> Iterator[OnSocket]:
    with bind("127.0.0.1", 0) as listener:
        server = Server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        running = OnSocket(server, listener.getsockname()[1], thread)
        thread.start()
        try:
            running.wait(lambda: server.started and running.gateway.registry.ready)
            yield running
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def socket_service(settings_with) -> Iterator[OnSocket]:
    with on_socket(settings_with(read_timeout_s=0.5, max_body_bytes=200_000)) as running:
        yield running
