"""A server without the address space for a photo: the answer is 503, not 422.

The limit is that of `ulimit -v`, set while the server runs.
"""

import base64
import json
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from silhouette_seg.client import AsyncClient, Failed, Result
from tests.faults.process import ServerProcess, serving
from tests.integration.batch_client import parts_of, problem_of
from tests.integration.pictures import picture, refusal
from tests.support.heif import make_heic
from tests.support.images import make, make_jpeg, make_png
from tests.support.tiny_model import tiny_spec, write_tiny_model

if not hasattr(resource, "prlimit"):
    pytest.skip("this system cannot limit the memory of a process", allow_module_level=True)

SIDE = 4_200
SPARE_BYTES = 20 * 2**20
"""Memory that the limit leaves. The pixels of a photo of this side have more than twice as much."""
FORMATS = ("png", "webp", "jpeg", "tiff", "gif", "avif", "heic")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    write_tiny_model(folder / "models", tiny_spec(size_hw=(48, 64)))
    with serving(folder, folder / "models", engine="onnx") as running:
        yield running


@cache
def photo(format: str) -> bytes:
    """Returns a photo of `SIDE` x `SIDE` pixels, in a file of at most two megabytes."""
    plain = np.full((SIDE, SIDE, 3), 90, np.uint8)
    match format:
        case "heic":
            return make_heic(plain)
        case "tiff":
            return make("tiff", plain, compression="tiff_lzw")
        case _:
            return make(format, plain)


@contextmanager
def short_of_memory(server: ServerProcess) -> Iterator[None]:
    """Leaves the server `SPARE_BYTES` of address space for the duration of the block."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    match = re.search(r"VmSize:\s+(\d+) kB", status)
    assert match is not None
    limit = 1024 * int(match[1]) + SPARE_BYTES
    resource.prlimit(server.process.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, unlimited)


@pytest.mark.parametrize("format", FORMATS)
def test_photo_without_memory_is_503_until_there_is_memory(server, format):
    # A cut-out needs all pixels, while a mask needs a reduced JPEG alone.
    path = "/v1/segment?output=cutout"
    with short_of_memory(server):
        answer = server.http.post(path, content=photo(format))
        assert refusal(answer, 503, "out_of_memory")["retryable"]
        assert answer.headers["retry-after"] == "1"
    picture(server.http.post(path, content=photo(format)))


def test_damaged_photo_stays_422_under_memory_limit(server):
    damaged = make_png(np.full((64, 64, 3), 90, np.uint8))[:-40]
    with short_of_memory(server):
        refusal(server.http.post("/v1/segment", content=damaged), 422, "undecodable_image")


def test_small_photo_is_segmented_under_memory_limit(server):
    with short_of_memory(server):
        picture(server.http.post("/v1/segment", content=make_jpeg()))


def test_batch_without_memory_fails_large_photo_alone(server):
    files = [("image", ("large.png", photo("png"))), ("image", ("small.jpg", make_jpeg()))]
    with short_of_memory(server):
        large, small = parts_of(server.http.post("/v1/segment/batch", files=files))
    problem_of(large, 503, "out_of_memory")
    assert large.headers["retry-after"] == "1"
    assert small.status == 200


def post_background(server: ServerProcess):
    files = {"image": make_jpeg(), "background_image": photo("webp")}
    return server.http.post("/v1/segment", files=files, data={"output": "composite"})


def post_json(server: ServerProcess):
    encoded = base64.b64encode(photo("png")).decode()
    return server.http.post("/v1/segment", json={"image": encoded})


def post_rembg(server: ServerProcess):
    return server.http.post("/api/remove", files={"file": photo("png")})


@pytest.mark.parametrize("send", [post_background, post_json, post_rembg])
def test_other_route_without_memory_is_503(server, send: Callable):
    with short_of_memory(server):
        refusal(send(server), 503, "out_of_memory")


def test_removebg_without_memory_is_503_in_its_format(server):
    with short_of_memory(server):
        answer = server.http.post("/v1.0/removebg", files={"image_file": photo("png")})
    assert answer.status_code == 503
    assert json.loads(answer.content)["errors"][0]["code"] == "out_of_memory"


async def test_stream_without_memory_fails_frame_and_goes_on(server):
    # The C library keeps freed blocks of up to 32 MiB; these pixels take 48 MB.
    frame = cv2.imencode(".png", np.full((2_000, 4_000, 3), 20_000, np.uint16))[1].tobytes()
    async with AsyncClient(server.url) as client, client.stream() as stream:
        with short_of_memory(server):
            await stream.send(frame)
            failed = await anext(stream)
        assert isinstance(failed, Failed)
        assert (failed.code, failed.retryable) == ("out_of_memory", True)
        await stream.send(frame)
        assert isinstance(await anext(stream), Result)
