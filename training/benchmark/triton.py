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
        return cpu_s_with_children(self.pid)

    async def counts(self) -> tuple[float, float]:
        """Returns the numbers of images and of executions since the server's start."""
        async with Connection(self.metrics) as connection:
            _, body = await connection.exchange(get("/metrics"))
        return self._count("nv_inference_count", body), self._count("nv_inference_exec_count", body)

    def _count(self, name: str, body: bytes) -> float:
        found = re.search(rf'^{name}{{model="{self.model}".*}} (\S+)$', body.decode(), re.MULTILINE)
        return float(found[1]) if found else 0


async def rows(
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
                pair = [
                    await _side(EMBEDDED, embedded, embedded.cpu_s, count, total),
                    await _with_batches(remote, triton, count, total),
                ]
                measured += [{"round": number + 1} | side for side in pair if number >= 0]
    return measured


async def _with_batches(
    server: ServerProcess, triton: TritonProcess, clients: int, requests: int
) -> Figures:
    images, runs = await triton.counts()
    side = await _side(
        REMOTE, server, lambda: server.cpu_s() + triton.cpu_s(), clients, requests, triton.cpu_s
    )
    images_after, runs_after = await triton.counts()
    return side | {"mean_batch": (images_after - images) / (runs_after - runs)}


async def _side(
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


def summary(measured: Sequence[Figures]) -> list[Figures]:
    """Returns medians over the rounds: processor time, and the time that Triton adds within a
    round.
    """
    summaries = []
    for clients in dict.fromkeys(row["clients"] for row in measured):
        here = [row for row in measured if row["clients"] == clients]
        alone = [row for row in here if row["side"] == EMBEDDED]
        with_triton = [row for row in here if row["side"] == REMOTE]
        pairs = zip(alone, with_triton, strict=True)
        summaries.append(
            {
                "clients": clients,
                "embedded_cpu_ms": median(row["cpu_ms"] for row in alone),
                "triton_cpu_ms": median(row["cpu_ms"] for row in with_triton),
                "in_triton_ms": median(row["in_triton_ms"] for row in with_triton),
                "added_ms": median(there["cpu_ms"] - row["cpu_ms"] for row, there in pairs),
                "mean_batch": median(row["mean_batch"] for row in with_triton),
                "unexpected": sum(row["unexpected"] for row in here),
            }
        )
    return summaries
