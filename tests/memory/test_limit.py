"""Sixteen callers with photos of 12 MP: each gets a whole picture or a 503, and nothing dies."""

import asyncio
import io
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from tests.memory.group import limited, within
from tests.memory.traffic import CAMERA, PATH, camera_photo
from tests.support.images import make_jpeg, person
from training.benchmark.server import SERVICE, serving
from training.benchmark.wire import Connection, get, post

GIB = 2**30
CALLERS = 16
EACH = 2
"""Photos of a caller, one after the other."""
CUT_OUT = f"{PATH}?output=cutout"
"""The dearest answer: it needs all colours of the photo, and its file is the largest."""
SLOW = {"request_timeout_s": "120", "read_timeout_s": "120"}
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
