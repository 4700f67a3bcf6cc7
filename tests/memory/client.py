"""Measures the memory of the Python client: `python -m tests.memory.client URL REQUESTS LEAK`.

It prints the resident MB after the warm-up and after each quarter of the requests, as JSON. LEAK
is the number of bytes to leak for each request.
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

from silhouette_seg.client import AsyncClient, Refused
from tests.support.images import TEXT, make_jpeg, person
from training.benchmark.server import rss_mb

WARM_UP_REQUESTS = 500
REQUESTS_PER_STREAM = 100
FRAMES = 10
PATIENCE_S = 120
BODY = make_jpeg(person())


async def main(url: str, requests: int, leak: int) -> list[float]:
    leaked: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        photo.write_bytes(BODY)
        async with AsyncClient(url, timeout_s=PATIENCE_S) as client:
            await use(client, photo, WARM_UP_REQUESTS)
            marks = [resident_mb()]
            for _ in range(4):
                for _ in range(requests // 4):
                    leaked.append(b"\x01" * leak)
                await use(client, photo, requests // 4)
                marks.append(resident_mb())
    return marks


async def use(client: AsyncClient, photo: Path, requests: int) -> None:
    """Sends photos in every supported form, rejected bodies, batches, and sometimes a stream."""
    for number in range(requests):
        match number % 10:
            case 0:
                await client.segment(photo, output="cutout", crop=True)
            case 1:
                await client.segment(BODY, output="composite", background=photo)
            case 2:
                [_ async for _ in client.segment_batch([photo, BODY, TEXT], format="webp")]
            case 3:
                await post_text(client)
            case _:
                await client.segment(BODY)
        if number % REQUESTS_PER_STREAM == 0:
            await stream(client)


async def post_text(client: AsyncClient) -> None:
    try:
        await client.segment(TEXT)
    except Refused:
        return
    raise AssertionError("the service accepted text as a photo")


async def stream(client: AsyncClient) -> None:
    async def frames() -> AsyncIterator[bytes]:
        for body in repeat(BODY, FRAMES):
            yield body

    async with client.stream(output="mask") as opened:
        results = [result async for result in opened.map(frames())]
    assert len(results) == FRAMES


def resident_mb() -> float:
    gc.collect()
    return rss_mb(os.getpid())


if __name__ == "__main__":
    url, requests, leak = sys.argv[1:]
    print(json.dumps(asyncio.run(main(url, int(requests), int(leak)))))
