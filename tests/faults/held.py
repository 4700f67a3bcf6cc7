"""`silhouette` whose models hold every answer from SIGUSR1 to SIGUSR2: `python -m`, for
`tests.faults.process`.
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
    """A signal is heard in the thread of the loop; the loop has to wake up for what follows."""
    for engine in fakes.OPENED:
        asyncio.get_running_loop().call_soon_threadsafe(engine.gate.set)


if __name__ == "__main__":
    ENGINES["held"] = "tests.support.fakes:open_gated"
    signal.signal(signal.SIGUSR1, hold)
    signal.signal(signal.SIGUSR2, release)
    main()
