"""Clients on the loopback address, and a service that must release every peer."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from aioice import ice

from tests.integration.conftest import InProcess, in_process, until
from tests.integration.webrtc_client import SDP


@pytest.fixture(autouse=True)
def loopback(monkeypatch):
    """Makes clients offer the loopback address, and restores aioice afterwards."""
    monkeypatch.setattr(ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@pytest.fixture
def serving(settings_with):
    """Serves the application, and checks that peers release everything."""

    @asynccontextmanager
    async def serve(**settings) -> AsyncIterator[InProcess]:
        overrides = {"webrtc_hosts": ("127.0.0.1",)} | settings
        async with in_process(settings_with(**overrides)) as service:
            await service.gateway.webrtc.warm_up()
            before = asyncio.all_tasks()
            yield service
            await until(lambda: service.gateway.streams.count == 0)
            await until(lambda: asyncio.all_tasks() <= before)
            await until(lambda: not decoders())
            assert not service.gateway.webrtc._peers
            assert not service.gateway.webrtc._tasks

    return serve


def decoders() -> list[str]:
    """Returns the names of the decoder threads: aiortc has one per received track."""
    return [thread.name for thread in threading.enumerate() if thread.name.endswith("-decoder")]


async def post(service: InProcess, text: str | bytes, query: str = "", **headers) -> httpx.Response:
    sent_headers = SDP | {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.post(f"/v1/webrtc{query}", content=text, headers=sent_headers)
