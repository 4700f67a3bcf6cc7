"""Runs `silhouette` with the engine `held`. Its models block from SIGUSR1 to SIGUSR2.

The models of the engine `stuck` block from the start.

`tests.faults.process` starts this module with `python -m`.
"""

import asyncio
import signal
from types import FrameType

from silhouette_seg.__main__ import main
from silhouette_seg.engine import ENGINES
from tests.support import fakes


def block(number: int, frame: FrameType | None) -> None:
    for engine in fakes.OPENED:
        engine.gate.clear()


def release(number: int, frame: FrameType | None) -> None:
    """Opens the gates through the event loop, so that it wakes up after the signal."""
    for engine in fakes.OPENED:
        asyncio.get_running_loop().call_soon_threadsafe(engine.gate.set)


if __name__ == "__main__":
    ENGINES["held"] = "tests.support.fakes:open_gated"
    ENGINES["stuck"] = "tests.support.fakes:open_stuck"
    signal.signal(signal.SIGUSR1, block)
    signal.signal(signal.SIGUSR2, release)
    main()
