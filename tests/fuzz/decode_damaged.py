"""Program that decodes damaged images and measures the memory of each.

    python -m tests.fuzz.decode_damaged COUNT SEED PROGRESS

It prints a summary in JSON. The file PROGRESS has the summary so far and the image in work. That is
the fatal one if a decoder ends the process. An image that takes longer than HANG_S ends it with a
traceback.
"""

import faulthandler
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

from silhouette_seg.errors import ServiceError
from silhouette_seg.vision.codec.decode import decode, read_header
from silhouette_seg.vision.codec.header import ImageLimits, check_limits
from tests.support.damage import damaged, seeds

HANG_S = 120
MAX_BYTES_PER_PIXEL = 17.5
"""Documented memory of the most expensive kinds of image: docs/settings.md."""
SLACK_BYTES = 4 * 2**20
STATE_BYTES = 400


def main(count: int, seed: int, progress: Path) -> None:
    """Decodes the images, and prints outcomes and the largest values of memory and time."""
    for data in seeds().values():  # the first use of each decoder allocates its tables
        _decode(data)
    summary: dict[str, tuple[float, str]] = {"over_bytes": (-1e18, ""), "seconds": (0, "")}
    outcomes: Counter[str] = Counter()
    with progress.open("wb", buffering=0) as current:
        for name, data in damaged(count, seed):
            state = json.dumps({"image": name, **summary})
            os.pwrite(current.fileno(), state.ljust(STATE_BYTES).encode(), 0)
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            Path("/proc/self/clear_refs").write_text("5")
            before, started = _status("VmRSS"), time.perf_counter()
            outcome, pixels = _decode(data)
            seconds, grown = time.perf_counter() - started, _status("VmHWM") - before
            over = grown - MAX_BYTES_PER_PIXEL * pixels - SLACK_BYTES
            summary["over_bytes"] = max(summary["over_bytes"], (over, name))
            summary["seconds"] = max(summary["seconds"], (seconds, name))
            outcomes[outcome] += 1
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps({**summary, "outcomes": outcomes}))


def _decode(data: bytes) -> tuple[str, int]:
    """Returns the error code or `ok`, and the pixels that the header declares; 0 if refused."""
    pixels = 0
    try:
        header = read_header(data)
        check_limits(header, ImageLimits())
        pixels = header.pixels
        frame = decode(data, header)
    except ServiceError as error:
        return error.code, pixels
    assert frame.rgb.shape == (*header.upright_hw, 3)
    return "ok", pixels


def _status(key: str) -> int:
    """Returns a size of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
