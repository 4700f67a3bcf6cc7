"""Measures the cost of Triton: the gateway with Triton and with the embedded engine, in turn."""

import re
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from statistics import median
from time import perf_counter

from silhouette_seg.runtime.cpu_quota import available_cpus
from training.benchmark import mixed
from training.benchmark.measure import Figures
from training.benchmark.photos import SIZES, encoded
from training.benchmark.server import ServerProcess, cpu_s_with_children, run_server
from training.benchmark.wire import Connection, ExpectedRequest, RequestTally, get, post, send_all

PHOTO = SIZES["1280x720"]
EMBEDDED, REMOTE = "embedded", "triton"


@dataclass(frozen=True, slots=True)
class TritonProcess:
    """A Triton server on this machine; models of its Python backend run in child processes."""

    pid: int
    url: str
    metrics: int
    model: str

    def cpu_s(self) -> float:
        """Returns the processor time of the server and its children so far, in seconds."""
        return cpu_s_with_children(self.pid)

    async def counts(self) -> tuple[float, float]:
        """Returns the numbers of images and of executions since the server's start."""
        async with Connection(self.metrics) as connection:
            _, body = await connection.exchange(get("/metrics"))
        return self._count("nv_inference_count", body), self._count("nv_inference_exec_count", body)

    def _count(self, name: str, body: bytes) -> float:
        match = re.search(rf'^{name}{{model="{self.model}".*}} (\S+)$', body.decode(), re.MULTILINE)
        return float(match[1]) if match else 0


async def measure_rounds(
    repository: Path, triton: TritonProcess, *, clients: Sequence[int], rounds: int, requests: int
) -> list[Figures]:
    """Measures both gateways in turn while both run; a first round is not counted."""
    measured: list[Figures] = []
    cpus = available_cpus()
    async with AsyncExitStack() as stack:
        embedded, remote = [
            await stack.enter_async_context(
                run_server(repository, workers=cpus, models=triton.model, **settings)
            )
            for settings in ({}, {"engine": "triton", "triton_url": triton.url})
        ]
        for number in range(-1, rounds):
            for count in clients:
                total = requests if number >= 0 else 2 * count
                sides = [
                    await _measure_side(EMBEDDED, embedded, embedded.cpu_s, count, total),
                    await _measure_triton_side(remote, triton, count, total),
                ]
                measured += [{"round": number + 1} | side for side in sides if number >= 0]
    return measured


async def _measure_triton_side(
    server: ServerProcess, triton: TritonProcess, clients: int, requests: int
) -> Figures:
    images, runs = await triton.counts()
    row = await _measure_side(
        REMOTE, server, lambda: server.cpu_s() + triton.cpu_s(), clients, requests, triton.cpu_s
    )
    images_after, runs_after = await triton.counts()
    return row | {"mean_batch": (images_after - images) / (runs_after - runs)}


async def _measure_side(
    name: str,
    server: ServerProcess,
    cpu_s: Callable[[], float],
    clients: int,
    requests: int,
    engine_cpu_s: Callable[[], float] = float,
) -> Figures:
    # Other work of the gateway would only hide the difference.
    plain = f"{mixed.PATH}?refine=none"
    call = ExpectedRequest(post(plain, encoded(PHOTO)), 200, "mask HD")
    tally = RequestTally()
    cpu, engine_cpu, wall = cpu_s(), engine_cpu_s(), perf_counter()
    await send_all(server.port, repeat(call, requests), clients=clients, tally=tally)
    return {
        "side": name,
        "clients": clients,
        "ms": 1000 * (perf_counter() - wall) / requests,
        "cpu_ms": 1000 * (cpu_s() - cpu) / requests,
        "in_triton_ms": 1000 * (engine_cpu_s() - engine_cpu) / requests,
        "unexpected": sum(tally.unexpected.values()),
    }


def summarise_rounds(measured: Sequence[Figures]) -> list[Figures]:
    """Returns medians over the rounds, for each number of clients.

    `added_ms` is the processor time of a request with Triton, less that of the engine in process
    in the same round.
    """
    summaries = []
    for clients in dict.fromkeys(row["clients"] for row in measured):
        rows = [row for row in measured if row["clients"] == clients]
        embedded_rows = [row for row in rows if row["side"] == EMBEDDED]
        triton_rows = [row for row in rows if row["side"] == REMOTE]
        pairs = zip(embedded_rows, triton_rows, strict=True)
        summaries.append(
            {
                "clients": clients,
                "embedded_cpu_ms": median(row["cpu_ms"] for row in embedded_rows),
                "triton_cpu_ms": median(row["cpu_ms"] for row in triton_rows),
                "in_triton_ms": median(row["in_triton_ms"] for row in triton_rows),
                "added_ms": median(
                    triton_row["cpu_ms"] - row["cpu_ms"] for row, triton_row in pairs
                ),
                "mean_batch": median(row["mean_batch"] for row in triton_rows),
                "unexpected": sum(row["unexpected"] for row in rows),
            }
        )
    return summaries
