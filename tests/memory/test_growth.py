"""Memory of the server and of the Python client after many requests of every kind."""

import asyncio
import json
import sys
import time
from pathlib import Path

from tests.memory.traffic import draw_tasks, every_task_by_all_users, run_tasks
from training.benchmark.server import SERVICE_COMMAND, ServerProcess, run_server
from training.benchmark.wire import HOST, Connection, get

WARM_UP_TASKS = 500
"""Tasks before the first measurement, after all users ran every kind of task together."""
MAX_GROWTH_MB = 30
LEAK_BYTES = 200_000
"""Leak for each request: 100 MB over 500 requests."""
LEAKED_REQUESTS = 500
MAX_CLIENT_GROWTH_MB = 1
CLIENT_LEAK_BYTES = 40_000
"""Leak for each request: 20 MB over 500 requests, more than the process has freed before."""
PATIENCE_S = 60
PATIENT = {"queue_timeout_s": "60", "request_timeout_s": "60", "read_timeout_s": "60"}
"""Settings under which no task is rejected, however slow the machine is."""


async def test_server_memory_stays_level_under_load(repository, requests, record_measurement):
    marks = await measure_server(repository, requests)
    record_measurement(format_mb(marks))
    assert marks[-1] - marks[0] < MAX_GROWTH_MB


async def test_leak_of_server_is_detected(repository, record_measurement):
    command = (sys.executable, "-m", "tests.memory.leaking", str(LEAK_BYTES))
    marks = await measure_server(repository, LEAKED_REQUESTS, command=command)
    record_measurement(format_mb(marks))
    assert marks[-1] - marks[0] > MAX_GROWTH_MB


async def test_client_memory_stays_level_under_load(repository, requests, record_measurement):
    marks = await measure_client(repository, requests)
    record_measurement(format_mb(marks))
    assert marks[-1] - marks[0] <= MAX_CLIENT_GROWTH_MB


async def test_leak_of_client_is_detected(repository, record_measurement):
    marks = await measure_client(repository, LEAKED_REQUESTS, leak=CLIENT_LEAK_BYTES)
    record_measurement(format_mb(marks))
    assert marks[-1] - marks[0] > MAX_CLIENT_GROWTH_MB


async def measure_server(
    repository: Path, requests: int, *, command: tuple[str, ...] = SERVICE_COMMAND
) -> list[float]:
    """Returns the MB of a server after the warm-up and after each quarter of the requests."""
    async with run_server(repository, workers=2, command=command, **PATIENT) as server:
        await run_tasks(server.port, [*every_task_by_all_users(), *draw_tasks(WARM_UP_TASKS)])
        marks = [await resident_mb(server)]
        tasks = draw_tasks(requests, seed=1)
        for n in range(4):
            await run_tasks(server.port, tasks[n * requests // 4 : (n + 1) * requests // 4])
            marks.append(await resident_mb(server))
        return marks


async def resident_mb(server: ServerProcess) -> float:
    """Returns the resident memory of a server once it has no request in progress."""
    give_up = time.monotonic() + PATIENCE_S
    async with Connection(server.port) as connection:
        while time.monotonic() < give_up:
            _, metrics = await connection.exchange(get("/metrics"))
            if b"\nsilhouette_requests_in_flight 0.0" in metrics:
                return server.rss_mb()
            await asyncio.sleep(0.01)
    raise AssertionError("the server always had a request in progress")


def format_mb(marks: list[float]) -> str:
    return " -> ".join(f"{mark:.1f}" for mark in marks) + " MB"


async def measure_client(repository: Path, requests: int, *, leak: int = 0) -> list[float]:
    """Returns the same measurements for a process that uses the Python client."""
    async with run_server(repository, workers=2, **PATIENT) as server:
        arguments = (f"http://{HOST}:{server.port}", str(requests), str(leak))
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.memory.client", *arguments, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await client.communicate()
        assert client.returncode == 0
        return [float(mark) for mark in json.loads(output)]
