"""Memory of the server with large photos: each user gets a complete image or a 503."""

import asyncio
import io
import json
import signal
import struct
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

from tests.memory.cgroup import in_cgroup, memory_cgroup
from tests.memory.traffic import CAMERA, PATH, PHONE, camera_photo
from tests.support.images import make_banded_jpeg, make_jpeg, person
from training.benchmark.server import SERVICE_COMMAND, run_server
from training.benchmark.wire import Connection, get, post

GIB = 2**30
USERS = 16
LARGEST_PHONE = (12_240, 16_320)
"""Size of the largest photos of any phone: 200 megapixels, by a setting."""
PHOTOS_PER_USER = 2
"""Photos that a user posts, one after the other."""
CUTOUT_PATH = f"{PATH}?output=cutout"
"""The output that costs the most memory: it needs all colours, and its file is the largest."""
SLOW = {"request_timeout_s": "300", "read_timeout_s": "300"}
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
        command, limit = in_cgroup(make_cgroup(GIB), SERVICE_COMMAND), "limited to 1 GiB"
    except OSError as error:
        command, limit = SERVICE_COMMAND, f"not limited to 1 GiB ({error})"
    async with run_server(repository, workers=2, command=command, **SLOW) as server:
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


@pytest.mark.parametrize(
    ("query", "levels", "bytes_per_pixel"),
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
async def test_memory_of_phone_photo_stays_within_documented_bytes_per_pixel(
    query, levels, bytes_per_pixel, repository, record_measurement
):
    """The limits are those of docs/settings.md, plus 64 MiB for tensors and bodies.

    Noise of 50 levels makes a JPEG of 28.7 MB, close to the limit of 32 MiB.
    """
    async with run_server(repository, workers=2, **SLOW) as server:
        before = server.rss_mb()
        async with Connection(server.port) as connection:
            request = post(f"{PATH}?{query}", phone_photo(levels))
            status, body = await connection.exchange(request)
        growth_mb = server.peak_mb() - before
        record_measurement(f"{before:.1f} MB, then at most {server.peak_mb():.1f} MB")
        assert status == 200, body[:300]
        assert Image.open(io.BytesIO(body)).size == PHONE[::-1]
        assert growth_mb * 1e6 < bytes_per_pixel * prod(PHONE) + 64 * 2**20


async def test_mask_of_200_megapixels_stays_within_documented_bytes_per_pixel(
    repository, record_measurement
):
    """The photo is decoded at a quarter of its sides, and the mask has its full size."""
    settings = SLOW | {"max_pixels": "202000000", "max_body_bytes": str(128 * 2**20)}
    async with run_server(repository, workers=2, **settings) as server:
        before = server.rss_mb()
        async with Connection(server.port) as connection:
            request = post(PATH, make_banded_jpeg(*LARGEST_PHONE))
            status, body = await connection.exchange(request)
        growth_mb = server.peak_mb() - before
        record_measurement(f"{before:.1f} MB, then at most {server.peak_mb():.1f} MB")
        assert status == 200, body[:300]
        assert struct.unpack(">II", body[16:24]) == LARGEST_PHONE[::-1]
        assert growth_mb * 1e6 < 4 * prod(LARGEST_PHONE) + 64 * 2**20


async def test_server_handles_phone_photo_per_worker_within_gibibyte(
    repository, record_measurement
):
    """A photo over MAX_PIXELS_IN_FLIGHT runs alone, so that two do not double the peak."""
    patient = SLOW | {"queue_timeout_s": SLOW["request_timeout_s"]}
    async with run_server(repository, workers=2, **patient) as server:
        request = post(CUTOUT_PATH, phone_photo())

        async def user() -> int:
            async with Connection(server.port) as connection:
                return (await connection.exchange(request))[0]

        statuses = await asyncio.gather(*(user() for _ in range(2)))
        record_measurement(f"at most {server.peak_mb():.1f} MB: {statuses}")
        assert statuses == [200, 200]
        assert server.peak_mb() * 1e6 < GIB


@cache
def phone_photo(levels: int = 6) -> bytes:
    """Returns a JPEG of the size `PHONE` with noise of up to `levels`."""
    return make_jpeg(camera_photo(PHONE, levels))


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
