"""Limits on streams in total, per address and per key, and on pending handshakes."""

import pytest

from silhouette_seg.admission import stream_limit
from silhouette_seg.streaming.protocol import CloseCode
from tests.integration.conftest import in_process
from tests.integration.stream_client import config, connected, streaming


async def test_stream_beyond_total_limit_is_rejected(settings_with, gated):
    async with in_process(settings_with(engine="gated", max_streams=1)) as service:
        async with (
            streaming(service.app),
            connected(service.app, address="10.0.0.2") as peer,
        ):
            peer.send(config())
            assert (await peer.end()).code == CloseCode.OVERLOADED
        async with streaming(service.app):
            assert service.gateway.streams.count == 1


@pytest.mark.parametrize(
    ("other", "max_streams", "code"),
    [
        ("10.0.0.2", 2, CloseCode.OVERLOADED),
        ("10.0.0.1", 2, CloseCode.OVERLOADED),
        ("10.0.0.1", 3, CloseCode.TOO_MANY_STREAMS),
    ],
)
async def test_stream_limits_apply_per_address(settings_with, gated, other, max_streams, code):
    settings = settings_with(engine="gated", max_streams=max_streams, max_streams_per_caller=1)
    async with (
        in_process(settings) as service,
        connected(service.app, address="10.0.0.1") as one,
        connected(service.app, address="10.0.0.9") as another,
        connected(service.app, address=other) as peer,
    ):
        for client in (one, another):
            client.send(config())
            assert (await client.receive())["type"] == "ready"
        peer.send(config())
        assert (await peer.end()).code == code


async def test_stream_limits_apply_per_key(settings_with, gated):
    settings = settings_with(engine="gated", api_keys=("a", "b"), max_streams_per_caller=1)
    async with (
        in_process(settings) as service,
        connected(service.app, address="10.0.0.1") as one,
        connected(service.app, address="10.0.0.2", authorization="Bearer a") as same,
        connected(service.app, address="10.0.0.2") as other,
    ):
        one.send(config(key="a"))
        assert (await one.receive())["type"] == "ready"
        same.send(config(key="made up"))
        assert (await same.end()).code == CloseCode.TOO_MANY_STREAMS
        other.send(config(key="b"))
        assert (await other.receive())["type"] == "ready"


async def test_stream_during_warm_up_is_rejected(settings_with, gated):
    async with in_process(settings_with(engine="gated"), ready=False) as service:
        gated[0].gate.clear()
        async with connected(service.app) as peer:
            peer.send(config())
            assert (await peer.end()).code == CloseCode.OVERLOADED
        gated[0].gate.set()


async def test_stream_while_draining_is_rejected(service):
    service.gateway.streams.start_draining()
    async with connected(service.app) as peer:
        peer.send(config())
        assert (await peer.end()).code == CloseCode.RESTART


async def test_pending_handshakes_are_limited(service, monkeypatch):
    """A pending handshake is unauthenticated and may send a message of the largest size."""
    monkeypatch.setattr(stream_limit, "MAX_PENDING_HANDSHAKES", 2)
    service.gateway.streams.max_streams = 2
    async with connected(service.app) as first, connected(service.app):
        async with connected(service.app) as third:
            assert (await third.end()).code == CloseCode.OVERLOADED
        first.send(config())
        assert (await first.receive())["type"] == "ready"
        async with connected(service.app) as fourth:
            fourth.send(config())
            assert (await fourth.receive())["type"] == "ready"
