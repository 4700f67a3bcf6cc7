"""The `silhouette` command with models that hold back results from SIGUSR1 to SIGUSR2.

`tests.faults.process` runs it as `python -m tests.faults.held`.
"""

import asyncio
import signal
from types import FrameType

from silhouette_seg.cli.main import main
from silhouette_seg.engine import ENGINES
from tests.support import fakes


def hold(number: int, frame: FrameType | None) -> None:
    for engine in fakes.OPENED:
        engine.gate.clear()


def release(number: int, frame: FrameType | None) -> None:
    """Opens the gates from the event loop: a signal handler alone would not wake it up."""
    for engine in fakes.OPENED:
        asyncio.get_running_loop().call_soon_threadsafe(engine.gate.set)


if __name__ == "__main__":
    ENGINES["held"] = "tests.support.fakes:open_gated"
    signal.signal(signal.SIGUSR1, hold)
    signal.signal(signal.SIGUSR2, release)
    main()
