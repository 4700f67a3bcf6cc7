"""Clients who wait, and requests that nobody holds back."""

import asyncio

import pytest

from loadtests.compare.load import Load, closed, opened
from loadtests.compare.wire import get, upload
from tests.support.mask_server import MaskServer, mask_png

REQUESTS = [upload("/mask", b"one"), upload("/mask", b"two")]
PATIENCE_S = 30


async def _opened(port: int, **options) -> Load:
    return await opened(port, REQUESTS, per_s=200, seconds=0.2, health=get("/health"), **options)


def outcomes(load: Load) -> set[str]:
    return {sample.outcome for sample in load.samples}


async def test_clients_ask_again_when_they_are_answered():
    server = MaskServer()
    async with server.serving() as port:
        load = await closed(port, REQUESTS, clients=3, seconds=0.2)
    assert server.peak_waiting <= 3
    assert len(load.samples) == server.requests > 3
    assert outcomes(load) == {"ok"}
    assert load.bodies.counts == {mask_png(): len(load.samples)}
    assert all(0 < sample.seconds <= load.seconds for sample in load.samples)


async def test_requests_go_out_although_none_is_answered():
    server = MaskServer()
    server.gate.clear()
    async with asyncio.timeout(PATIENCE_S), server.serving() as port:
        asking = asyncio.create_task(_opened(port))
        await server.wait_requests(10)
        server.gate.set()
        load = await asking
    assert server.peak_waiting >= 10
    assert outcomes(load) == {"ok"}


async def test_patience_ends_at_the_deadline_and_health_is_asked_meanwhile():
    server = MaskServer()
    server.gate.clear()
    async with asyncio.timeout(PATIENCE_S), server.serving() as port:
        load = await _opened(port, deadline_s=0.3)
    assert load.samples
    assert outcomes(load) == {"late"}
    assert all(sample.seconds >= 0.3 for sample in load.samples)
    assert {probe.outcome for probe in load.probes} == {"ok"}


async def test_refusals_are_told_from_answers():
    server = MaskServer(max_waiting=1)
    server.gate.clear()
    async with asyncio.timeout(PATIENCE_S), server.serving() as port:
        asking = asyncio.create_task(_opened(port))
        await server.wait_requests(5)
        server.gate.set()
        load = await asking
    assert outcomes(load) == {"ok", "refused"}
    assert load.bodies.counts.total() == sum(each.outcome == "ok" for each in load.samples)


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (MaskServer(drops_connection=True), "IncompleteReadError"),
        (MaskServer(status=500), "status 500"),
    ],
    ids=["leaves", "says so"],
)
async def test_a_failure_says_what_it_was(server, why):
    async with server.serving() as port:
        load = await closed(port, REQUESTS, clients=1, seconds=0.05)
    assert {(sample.outcome, sample.why) for sample in load.samples} == {("failed", why)}


async def test_a_client_that_is_refused_does_not_come_again_at_once():
    server = MaskServer(max_waiting=0)
    async with server.serving() as port:
        load = await closed(port, REQUESTS, clients=2, seconds=0.3)
    assert [sample.outcome for sample in load.samples] == ["refused"] * server.requests
    assert server.requests == 2
