"""Tests of the closed and the open loop."""

import asyncio

import pytest

from loadtests.compare.http_client import get_request, upload_request
from loadtests.compare.loops import LoopResult, run_closed_loop, run_open_loop
from tests.support.mask_server import MaskServer, mask_png

REQUESTS = [upload_request("/mask", b"one"), upload_request("/mask", b"two")]
TIMEOUT_S = 30


async def open_loop(port: int, **options) -> LoopResult:
    health = get_request("/health")
    return await run_open_loop(port, REQUESTS, per_s=200, seconds=0.2, health=health, **options)


def outcomes(result: LoopResult) -> set[str]:
    return {exchange.outcome for exchange in result.exchanges}


async def test_closed_loop_clients_send_after_each_response():
    server = MaskServer()
    async with server.serving() as port:
        result = await run_closed_loop(port, REQUESTS, clients=3, seconds=0.2)
    assert server.peak_waiting <= 3
    assert len(result.exchanges) == server.requests > 3
    assert outcomes(result) == {"ok"}
    assert result.bodies.counts == {mask_png(): len(result.exchanges)}
    assert all(0 < exchange.latency_s <= result.seconds for exchange in result.exchanges)


async def test_open_loop_sends_without_waiting_for_responses():
    server = MaskServer()
    server.gate.clear()
    async with asyncio.timeout(TIMEOUT_S), server.serving() as port:
        running = asyncio.create_task(open_loop(port))
        await server.wait_requests(10)
        server.gate.set()
        result = await running
    assert server.peak_waiting >= 10
    assert outcomes(result) == {"ok"}


async def test_open_loop_times_out_and_probes_health_meanwhile():
    server = MaskServer()
    server.gate.clear()
    async with asyncio.timeout(TIMEOUT_S), server.serving() as port:
        result = await open_loop(port, timeout_s=0.3)
    assert result.exchanges
    assert outcomes(result) == {"late"}
    assert all(exchange.latency_s >= 0.3 for exchange in result.exchanges)
    assert {probe.outcome for probe in result.probes} == {"ok"}


async def test_open_loop_separates_refusals_from_masks():
    server = MaskServer(max_waiting=1)
    server.gate.clear()
    async with asyncio.timeout(TIMEOUT_S), server.serving() as port:
        running = asyncio.create_task(open_loop(port))
        await server.wait_requests(5)
        server.gate.set()
        result = await running
    assert outcomes(result) == {"ok", "refused"}
    assert result.bodies.counts.total() == sum(
        exchange.outcome == "ok" for exchange in result.exchanges
    )


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (MaskServer(drops_connection=True), "IncompleteReadError"),
        (MaskServer(status=500), "status 500"),
    ],
    ids=["connection dropped", "status 500"],
)
async def test_failed_exchange_has_its_reason(server, reason):
    async with server.serving() as port:
        result = await run_closed_loop(port, REQUESTS, clients=1, seconds=0.05)
    assert {(exchange.outcome, exchange.error) for exchange in result.exchanges} == {
        ("failed", reason)
    }


async def test_refused_client_waits_before_next_request():
    server = MaskServer(max_waiting=0)
    async with server.serving() as port:
        result = await run_closed_loop(port, REQUESTS, clients=2, seconds=0.3)
    assert [exchange.outcome for exchange in result.exchanges] == ["refused"] * server.requests
    assert server.requests == 2
