"""Memory after thousands of requests of every kind: of the server, and of the Python client."""

import asyncio
import json
import sys
import time
from pathlib import Path

from tests.memory.traffic import every_visit_at_once, pay, visits
from training.benchmark.server import SERVICE, Running, serving
from training.benchmark.wire import HOST, Connection, get

WARM_UP = 500
"""Visits after every kind was paid by all callers at once."""
MOST_MB = 50
LEAK = 50_000
"""Bytes of each request: 100 MB over the 2,000 of the suite."""
CLIENT_MOST_MB = 1
CLIENT_LEAK = 8_000
"""Over 500 requests."""
PATIENCE_S = 60
PATIENT = {"queue_timeout_s": "60", "request_timeout_s": "60", "read_timeout_s": "60"}
"""Settings that refuse nobody however slow the machine is: every kind of visit shall be paid."""


async def test_server_does_not_grow(repository, requests, told):
    marks = await measured(repository, requests)
    told(said(marks))
    assert marks[-1] - marks[0] < MOST_MB


async def test_leak_is_seen(repository, told):
    leaking = (sys.executable, "-m", "tests.memory.leaking", str(LEAK))
    marks = await measured(repository, 2000, command=leaking)
    told(said(marks))
    assert marks[-1] - marks[0] > MOST_MB


async def test_client_does_not_grow(repository, requests, told):
    marks = await measured_client(repository, requests)
    told(said(marks))
    assert marks[-1] - marks[0] <= CLIENT_MOST_MB


async def test_leak_of_a_client_is_seen(repository, told):
    marks = await measured_client(repository, 500, leak=CLIENT_LEAK)
    told(said(marks))
    assert marks[-1] - marks[0] > CLIENT_MOST_MB


async def measured(
    repository: Path, requests: int, *, command: tuple[str, ...] = SERVICE
) -> list[float]:
    """MB of a server after the warm-up, and after each quarter of the requests."""
    async with serving(repository, workers=2, command=command, **PATIENT) as server:
        await pay(server.port, [*every_visit_at_once(), *visits(WARM_UP)])
        marks = [await resident_mb(server)]
        paid = visits(requests, seed=1)
        for n in range(4):
            await pay(server.port, paid[n * requests // 4 : (n + 1) * requests // 4])
            marks.append(await resident_mb(server))
        return marks


async def resident_mb(server: Running) -> float:
    """Of a server that has nothing left to do for callers who went away."""
    give_up = time.monotonic() + PATIENCE_S
    async with Connection(server.port) as connection:
        while time.monotonic() < give_up:
            _, metrics = await connection.exchange(get("/metrics"))
            if b"\nsilhouette_requests_in_flight 0.0" in metrics:
                return server.rss_mb()
            await asyncio.sleep(0.01)
    raise AssertionError("there was always something in work")


def said(marks: list[float]) -> str:
    return " -> ".join(f"{mark:.1f}" for mark in marks) + " MB"


async def measured_client(repository: Path, requests: int, *, leak: int = 0) -> list[float]:
    """The same of a process of its own that uses the Python client."""
    async with serving(repository, workers=2, **PATIENT) as server:
        order = (f"http://{HOST}:{server.port}", str(requests), str(leak))
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.memory.client", *order, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await client.communicate()
        assert client.returncode == 0
        return [float(mark) for mark in json.loads(told)]
