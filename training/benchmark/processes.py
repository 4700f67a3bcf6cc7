"""Measures a server of one process beside one of several, in turn, and the memory of both."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import repeat
from pathlib import Path
from statistics import median
from time import perf_counter

from training.benchmark import mixed
from training.benchmark.http import MODEL, PHOTO
from training.benchmark.measure import Figures, p95
from training.benchmark.photos import encoded
from training.benchmark.server import (
    ServerProcess,
    cpu_s_with_children,
    pss_mb_with_children,
    run_server,
)
from training.benchmark.wire import ExpectedRequest, RequestTally, post, send_all


async def measure_rounds(
    repository: Path,
    *,
    processes: Sequence[int],
    workers: int,
    clients: int,
    rounds: int,
    requests: int,
) -> list[Figures]:
    """Measures servers with these numbers of processes in turn, all with `workers` in total.

    All servers run; only the measured one has requests. A first round is not counted.
    """
    measured: list[Figures] = []
    async with AsyncExitStack() as stack:
        servers = {
            count: await stack.enter_async_context(
                run_server(repository, workers=workers, models=MODEL, processes=str(count))
            )
            for count in processes
        }
        for number in range(-1, rounds):
            for count, server in servers.items():
                total = requests if number >= 0 else 4 * clients
                row = await _measure_side(server, clients=clients, requests=total)
                if number >= 0:
                    measured.append({"round": number + 1, "processes": count} | row)
    return measured


async def _measure_side(server: ServerProcess, *, clients: int, requests: int) -> Figures:
    call = ExpectedRequest(post(f"{mixed.PATH}?refine=none", encoded(PHOTO)), 200, "mask HD")
    tally = RequestTally()
    cpu, wall = cpu_s_with_children(server.pid), perf_counter()
    await send_all(server.port, repeat(call, requests), clients=clients, tally=tally)
    return {
        "ms": 1000 * (perf_counter() - wall) / requests,
        "cpu_ms": 1000 * (cpu_s_with_children(server.pid) - cpu) / requests,
        "p95_ms": 1000 * p95(tally.seconds),
        "pss_mb": pss_mb_with_children(server.pid),
        "unexpected": sum(tally.unexpected.values()),
    }


def summarise_rounds(measured: Sequence[Figures]) -> list[Figures]:
    """Returns medians over the rounds for each number of processes.

    `ratio` is the throughput in relation to that of the first number in the same round.
    """
    counts = list(dict.fromkeys(row["processes"] for row in measured))
    first = [row for row in measured if row["processes"] == counts[0]]
    summaries: list[Figures] = []
    for count in counts:
        rows = [row for row in measured if row["processes"] == count]
        pairs = zip(first, rows, strict=True)
        summaries.append(
            {
                "processes": count,
                "per_s": 1000 / median(row["ms"] for row in rows),
                "ratio": median(base["ms"] / row["ms"] for base, row in pairs),
                "cpu_ms": median(row["cpu_ms"] for row in rows),
                "p95_ms": median(row["p95_ms"] for row in rows),
                "pss_mb": rows[-1]["pss_mb"],
                "unexpected": sum(row["unexpected"] for row in rows),
            }
        )
    return summaries
