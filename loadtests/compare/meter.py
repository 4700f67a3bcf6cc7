"""What a load costs: processor time of the server, the client and the machine, and memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from loadtests.compare.process import Tree, machine_cpu_s, own_cpu_s

LOOK_EVERY_S = 1.0
"""At the memory; a look costs a server a millisecond or so."""


@dataclass(slots=True)
class Cost:
    """Filled when the block ends."""

    server_s: float = 0.0
    client_s: float = 0.0
    machine_s: float = 0.0
    peak_mb: float = 0.0


@asynccontextmanager
async def metered(tree: Tree) -> AsyncIterator[Cost]:
    cost = Cost()
    began = _clocks(tree)
    looking = asyncio.create_task(_look(tree, cost))
    try:
        yield cost
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        now = _clocks(tree)
        cost.server_s, cost.client_s, cost.machine_s = (
            after - before for after, before in zip(now, began, strict=True)
        )


def _clocks(tree: Tree) -> tuple[float, float, float]:
    return tree.cpu_s(), own_cpu_s(), machine_cpu_s()


async def _look(tree: Tree, cost: Cost) -> None:
    while True:
        cost.peak_mb = max(cost.peak_mb, await asyncio.to_thread(tree.memory_mb))
        await asyncio.sleep(LOOK_EVERY_S)
