"""`python -m tests.memory.client URL REQUESTS KEEP`: the Python client at work, and its memory.

Prints the MB that are resident after the warm-up and after each quarter of the requests. KEEP is
a leak: so many bytes of every request.
"""

import asyncio
import gc
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from itertools import repeat
from pathlib import Path

from silhouette_seg.client import Client, Refused
from tests.support.images import TEXT, make_jpeg, person
from training.benchmark.server import rss_mb

WARM_UP = 500
STREAM_EVERY = 100
FRAMES = 10
PATIENCE_S = 120
BODY = make_jpeg(person())


async def main(url: str, requests: int, keep: int) -> list[float]:
    kept: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        photo.write_bytes(BODY)
        async with Client(url, timeout_s=PATIENCE_S) as client:
            await use(client, photo, WARM_UP)
            marks = [resident_mb()]
            for _ in range(4):
                for _ in range(requests // 4):
                    kept.append(b"\x01" * keep)
                await use(client, photo, requests // 4)
                marks.append(resident_mb())
    return marks


async def use(client: Client, photo: Path, requests: int) -> None:
    """Photos in every way that the client sends them, refusals, batches, and a stream at times."""
    for number in range(requests):
        match number % 10:
            case 0:
                await client.segment(photo, output="cutout", crop=True)
            case 1:
                await client.segment(BODY, output="composite", background_image=photo)
            case 2:
                await client.segment_batch([photo, BODY, TEXT], format="webp")
            case 3:
                await refused(client)
            case _:
                await client.segment(BODY)
        if number % STREAM_EVERY == 0:
            await stream(client)


async def refused(client: Client) -> None:
    try:
        await client.segment(TEXT)
    except Refused:
        return
    raise AssertionError("text was taken for a photo")


async def stream(client: Client) -> None:
    async def frames() -> AsyncIterator[bytes]:
        for each in repeat(BODY, FRAMES):
            yield each

    async with client.stream(output="mask") as opened:
        answers = [answer async for answer in opened.map(frames())]
    assert len(answers) == FRAMES


def resident_mb() -> float:
    gc.collect()
    return rss_mb(os.getpid())


if __name__ == "__main__":
    url, requests, keep = sys.argv[1:]
    print(json.dumps(asyncio.run(main(url, int(requests), int(keep)))))
