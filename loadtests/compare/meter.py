"""Measures processor time of server, client and machine, and the server's peak memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from loadtests.compare.process import ProcessTree, machine_cpu_s, own_cpu_s

MEMORY_INTERVAL_S = 1.0
"""Interval of memory readings. A reading costs the server about a millisecond."""


@dataclass(slots=True)
class Cost:
    """Processor seconds of a block and peak memory in MB (10^6 bytes), set at its end."""

    server_s: float = 0.0
    client_s: float = 0.0
    machine_s: float = 0.0
    peak_mb: float = 0.0


@asynccontextmanager
async def measure_cost(tree: ProcessTree) -> AsyncIterator[Cost]:
    """Measures the cost of the block; `tree` has the processes of the server."""
    cost = Cost()
    before = _read_clocks(tree)
    sampling = asyncio.create_task(_sample_memory(tree, cost))
    try:
        yield cost
    finally:
        sampling.cancel()
        await asyncio.wait([sampling])
        after = _read_clocks(tree)
        cost.server_s, cost.client_s, cost.machine_s = (
            end - start for end, start in zip(after, before, strict=True)
        )


def _read_clocks(tree: ProcessTree) -> tuple[float, float, float]:
    return tree.cpu_s(), own_cpu_s(), machine_cpu_s()


async def _sample_memory(tree: ProcessTree, cost: Cost) -> None:
    while True:
        cost.peak_mb = max(cost.peak_mb, await asyncio.to_thread(tree.memory_mb))
        await asyncio.sleep(MEMORY_INTERVAL_S)
