"""Sixteen users post photos of 12 MP: each gets a complete image or a 503; nothing crashes."""

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

from tests.memory.cgroup import in_cgroup, memory_cgroup
from tests.memory.traffic import CAMERA, PATH, camera_photo
from tests.support.images import make_jpeg, person
from training.benchmark.server import SERVICE, serving
from training.benchmark.wire import Connection, get, post

GIB = 2**30
USERS = 16
PHOTOS_PER_USER = 2
"""Photos that a user posts, one after the other."""
CUTOUT_PATH = f"{PATH}?output=cutout"
"""The output that costs the most memory: it needs all colours, and its file is the largest."""
SLOW = {"request_timeout_s": "120", "read_timeout_s": "120"}
"""Settings that let a busy machine finish each request."""

MakeCgroup = Callable[[int], Path]


@pytest.fixture
def make_cgroup() -> Iterator[MakeCgroup]:
    """Creates a cgroup with a limit in bytes; raises OSError if that is not possible."""
    with ExitStack() as stack:
        yield lambda size: stack.enter_context(memory_cgroup(size))


def test_cgroup_limit_kills_process_over_it(make_cgroup):
    try:
        cgroup = make_cgroup(GIB // 16)
    except OSError as error:
        pytest.skip(f"this machine has no cgroup limits: {error}")
    greedy = (sys.executable, "-c", f"bytes(1) + b'x' * {GIB // 8}")
    modest = (sys.executable, "-c", "pass")
    assert subprocess.run(in_cgroup(cgroup, modest), check=False).returncode == 0
    assert subprocess.run(in_cgroup(cgroup, greedy), check=False).returncode == -signal.SIGKILL


async def test_server_handles_many_large_photos_within_gibibyte(
    repository, make_cgroup, record_measurement
):
    """The peak is measured even where the kernel cannot enforce the limit."""
    try:
        command, limit = in_cgroup(make_cgroup(GIB), SERVICE), "limited to 1 GiB"
    except OSError as error:
        command, limit = SERVICE, f"not limited to 1 GiB ({error})"
    async with serving(repository, workers=2, command=command, **SLOW) as server:
        before = server.rss_mb()
        statuses = await post_photos(server.port)
        peak = f"{before:.1f} MB, then at most {server.peak_mb():.1f} MB, {limit}"
        record_measurement(f"{peak}: {dict(statuses)}")
        assert set(statuses) <= {200, 503}
        assert statuses[200] >= 2
        assert server.peak_mb() * 1e6 < GIB
        async with Connection(server.port) as connection:
            assert (await connection.exchange(get("/readyz")))[0] == 200
            status, _ = await connection.exchange(post(PATH, make_jpeg(person())))
            assert status == 200


async def post_photos(port: int) -> Counter[int]:
    """Runs all users and checks every response. Returns the number of responses by status."""
    statuses: Counter[int] = Counter()
    request = post(CUTOUT_PATH, make_jpeg(camera_photo()))

    async def user() -> None:
        async with Connection(port) as connection:
            for _ in range(PHOTOS_PER_USER):
                status, body = await connection.exchange(request)
                statuses[status] += 1
                check_response(status, body)

    async with asyncio.TaskGroup() as users:
        for _ in range(USERS):
            users.create_task(user())
    return statuses


def check_response(status: int, body: bytes) -> None:
    if status != 200:
        assert json.loads(body)["code"] == "overloaded"
        return
    image = Image.open(io.BytesIO(body))
    assert (image.height, image.width) == CAMERA
    image.verify()  # raises for a truncated file
