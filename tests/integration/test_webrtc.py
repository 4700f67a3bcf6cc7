"""aiortc against the application: a camera goes in and its processed frames come back."""

import pytest
from aioice import ice

from tests.integration.conftest import in_process
from tests.integration.webrtc_peer import Client

LOOPBACK = ("127.0.0.1",)


@pytest.fixture(autouse=True)
def loopback(monkeypatch):
    """The clients offer what the service is told to; what either set is undone."""
    monkeypatch.setattr(ice, "get_host_addresses", lambda use_ipv4, use_ipv6: list(LOOPBACK))


async def test_frames_come_back(settings_with):
    async with (
        in_process(settings_with(webrtc_hosts=LOOPBACK)) as service,
        Client(service.client, "?background=%23104080") as client,
    ):
        seen = await client.sees(15)
        assert [frame.number for frame in seen] == sorted({frame.number for frame in seen})
