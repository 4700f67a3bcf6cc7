"""Memory of large photos: each caller gets a whole picture or a 503, and no server dies."""

import asyncio
import io
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from math import prod
from pathlib import Path

import pytest
from PIL import Image

from tests.memory.group import limited, within
from tests.memory.traffic import CAMERA, PATH, PHONE, camera_photo
from tests.support.images import make_jpeg, person
from training.benchmark.server import SERVICE, serving
from training.benchmark.wire import Connection, get, post

GIB = 2**30
CALLERS = 16
EACH = 2
"""Photos of a caller, one after the other."""
CUT_OUT = f"{PATH}?output=cutout"
"""The dearest answer: it needs all colours of the photo, and its file is the largest."""
SLOW = {"request_timeout_s": "300", "read_timeout_s": "300"}
"""A machine that is busy with something else shall answer all the same."""

Limit = Callable[[int], Path]


@pytest.fixture
def limit() -> Iterator[Limit]:
    """Makes a group of processes with so many bytes; raises OSError where that cannot be."""
    with ExitStack() as stack:
        yield lambda size: stack.enter_context(limited(size))


def test_limit_is_real(limit):
    try:
        group = limit(GIB // 16)
    except OSError as error:
        pytest.skip(f"no process can be limited here: {error}")
    greedy = (sys.executable, "-c", f"bytes(1) + b'x' * {GIB // 8}")
    modest = (sys.executable, "-c", "pass")
    assert subprocess.run(within(group, modest), check=False).returncode == 0
    assert subprocess.run(within(group, greedy), check=False).returncode == -signal.SIGKILL


async def test_crowd_with_large_photos_fits_into_a_gibibyte(repository, limit, told):
    """Also measured where the kernel cannot be made to hold the server to it."""
    try:
        command, held = within(limit(GIB), SERVICE), "held to 1 GiB"
    except OSError as error:
        command, held = SERVICE, f"not held to 1 GiB ({error})"
    async with serving(repository, workers=2, command=command, **SLOW) as server:
        before = server.rss_mb()
        statuses = await crowd(server.port)
        told(f"{before:.1f} MB, then at most {server.peak_mb():.1f} MB, {held}: {dict(statuses)}")
        assert set(statuses) <= {200, 503}
        assert statuses[200] >= 2
        assert server.peak_mb() * 1e6 < GIB
        async with Connection(server.port) as connection:
            assert (await connection.exchange(get("/readyz")))[0] == 200
            status, _ = await connection.exchange(post(PATH, make_jpeg(person())))
            assert status == 200


@pytest.mark.parametrize(
    ("query", "levels", "bytes_a_pixel"),
    [
        ("output=mask", 6, 5),
        ("output=cutout", 6, 12),
        ("output=composite&background=blur:3&format=jpeg", 6, 12),
        ("output=cutout&format=webp", 6, 36),
        ("output=cutout", 50, 15),
        ("output=cutout&format=webp", 50, 38),
    ],
    ids=["mask", "cut-out", "composite", "webp", "cut-out of noise", "webp of noise"],
)
async def test_phone_photo_keeps_to_bytes_a_pixel(query, levels, bytes_a_pixel, repository, told):
    """The bounds of docs/settings.md; 64 MiB are for the models' tensors and the bodies.

    Noise of 50 levels makes a JPEG of 28.7 MB, close to the limit of 32 MiB.
    """
    async with serving(repository, workers=2, **SLOW) as server:
        before = server.rss_mb()
        async with Connection(server.port) as connection:
            request = post(f"{PATH}?{query}", phone_photo(levels))
            status, body = await connection.exchange(request)
        grown = server.peak_mb() - before
        told(f"{before:.1f} MB, then at most {server.peak_mb():.1f} MB")
        assert status == 200, body[:300]
        assert Image.open(io.BytesIO(body)).size == PHONE[::-1]
        assert grown * 1e6 < bytes_a_pixel * prod(PHONE) + 64 * 2**20


async def test_phone_photos_of_every_worker_fit_into_a_gibibyte(repository, told):
    """A photo over MAX_PIXELS_IN_FLIGHT has its turn alone, so two are not two times as much."""
    patient = SLOW | {"queue_timeout_s": SLOW["request_timeout_s"]}
    async with serving(repository, workers=2, **patient) as server:
        request = post(CUT_OUT, phone_photo())

        async def caller() -> int:
            async with Connection(server.port) as connection:
                return (await connection.exchange(request))[0]

        statuses = await asyncio.gather(*(caller() for _ in range(2)))
        told(f"at most {server.peak_mb():.1f} MB: {statuses}")
        assert statuses == [200, 200]
        assert server.peak_mb() * 1e6 < GIB


@cache
def phone_photo(levels: int = 6) -> bytes:
    return make_jpeg(camera_photo(PHONE, levels))


async def crowd(port: int) -> Counter[int]:
    """How often each status came; all answers are what they claim to be."""
    statuses: Counter[int] = Counter()
    request = post(CUT_OUT, make_jpeg(camera_photo()))

    async def caller() -> None:
        async with Connection(port) as connection:
            for _ in range(EACH):
                status, body = await connection.exchange(request)
                statuses[status] += 1
                check(status, body)

    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(caller())
    return statuses


def check(status: int, body: bytes) -> None:
    if status != 200:
        assert json.loads(body)["code"] == "overloaded"
        return
    picture = Image.open(io.BytesIO(body))
    assert (picture.height, picture.width) == CAMERA
    picture.verify()  # every byte of it is there
