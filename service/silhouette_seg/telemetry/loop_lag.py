"""How late the event loop is: while it stands still nothing is answered, health included."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import NoReturn

SAMPLE_INTERVAL_S = 0.1
"""A stall as long is seen always, a shorter one as often as it is long."""


async def monitor_loop_lag(
    observe: Callable[[float], object],
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Callable[[], float] = perf_counter,
) -> NoReturn:
    """Tells `observe`, until it is cancelled, by how many seconds the loop woke it too late."""
    while True:
        # Not the loop's clock: uvloop's counts whole milliseconds.
        due = clock() + SAMPLE_INTERVAL_S
        await sleep(SAMPLE_INTERVAL_S)
        observe(max(0.0, clock() - due))
