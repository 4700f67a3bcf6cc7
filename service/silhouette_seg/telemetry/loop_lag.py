"""Measures event loop lag. A blocked loop answers no request, not even health checks."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import NoReturn

SAMPLE_INTERVAL_S = 0.1
"""Seconds between samples. Every longer stall is seen; a shorter one is seen in proportion to its
length."""


async def monitor_loop_lag(
    observe: Callable[[float], object],
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Callable[[], float] = perf_counter,
) -> NoReturn:
    """Calls `observe` with the delay of each wake-up, in seconds, until it is cancelled."""
    while True:
        # Not the loop's clock: uvloop's counts whole milliseconds.
        due = clock() + SAMPLE_INTERVAL_S
        await sleep(SAMPLE_INTERVAL_S)
        observe(max(0.0, clock() - due))
