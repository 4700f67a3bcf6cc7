"""Measures the lag of the event loop: the delay of its timers while it is blocked.

A blocked loop answers no request, not even health checks.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import NoReturn

SAMPLE_INTERVAL_S = 0.1
"""Seconds between two samples of the lag.

Every longer stall is seen. A shorter one is seen with a probability in proportion to its length.
"""


async def monitor_loop_lag(
    observe: Callable[[float], object],
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Callable[[], float] = perf_counter,
) -> NoReturn:
    """Sleeps `SAMPLE_INTERVAL_S` again and again, and passes each delay to `observe`, in seconds.

    The delay is the time by which the wake-up was late, at least 0. It runs until it is cancelled.
    """
    while True:
        # Not the loop's clock: uvloop's counts whole milliseconds.
        due = clock() + SAMPLE_INTERVAL_S
        await sleep(SAMPLE_INTERVAL_S)
        observe(max(0.0, clock() - due))
