"""Tasks of every kind that users run, including invalid requests and abandoned connections."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache

import cv2
import httpx
import numpy as np

from silhouette_seg.client import AsyncClient, Result, Segmented
from silhouette_seg.vision.geometry import Size
from tests.support.images import TEXT, make_bomb, make_jpeg, make_png, make_webp, person
from training.benchmark.wire import HOST, Connection, ExpectedRequest, get, post

USERS = 4
"""Number of concurrent users."""
PATH = "/v1/segment"
SMALL, MIDDLE, LARGE, CAMERA = (240, 320), (480, 640), (720, 1280), (3000, 4000)
PHONE = (6144, 8160)
"""Size of the largest photos of today's phones: 50.1 megapixels."""
FRAMES = 5
PATIENCE_S = 120
HANDSHAKE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class User:
    """A persistent connection, and a client for tasks of more than one exchange."""

    port: int
    connection: Connection
    client: AsyncClient


Task = Callable[[User], Awaitable[None]]


async def run_tasks(port: int, tasks: Iterable[Task]) -> None:
    """Runs the tasks: each of `USERS` users starts the next one when its last one is done."""
    queue = iter(tasks)
    url = f"http://{HOST}:{port}"

    async def user() -> None:
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(Connection(port))
            client = await stack.enter_async_context(AsyncClient(url, timeout_s=PATIENCE_S))
            for task in queue:
                await task(User(port, connection, client))

    async with asyncio.TaskGroup() as users:
        for _ in range(USERS):
            users.create_task(user())


def every_task_by_all_users() -> list[Task]:
    """Returns each kind of task `USERS` times: no later moment needs more memory."""
    return [task for task in task_weights() for _ in range(USERS)]


def draw_tasks(count: int, seed: int = 0) -> list[Task]:
    """Returns tasks by their weights, mostly small photos; a seed always gives the same tasks."""
    weights = task_weights()
    return random.Random(seed).choices(list(weights), list(weights.values()), k=count)


@cache
def task_weights() -> dict[Task, float]:
    """Returns every kind of task with its relative frequency."""
    small, middle, large = (make_jpeg(person(*size)) for size in (SMALL, MIDDLE, LARGE))
    camera = make_jpeg(camera_photo())
    wall = make_webp(person(*SMALL))
    both = {"image": small, "background_image": wall}
    return {
        exchange("mask", post(PATH, small)): 20,
        exchange("mask of VGA", post(PATH, middle)): 10,
        exchange("mask of HD", post(PATH, large)): 4,
        exchange("mask of 12 MP", post(PATH, camera)): 0.4,
        exchange("mask as the model gives it", post(f"{PATH}?refine=none", small)): 3,
        exchange("mask of a PNG", post(PATH, make_png(person(*SMALL)))): 4,
        exchange("mask of a WebP", post(PATH, wall)): 4,
        exchange("mask as WebP", post(f"{PATH}?format=webp", small)): 3,
        exchange("mask as JPEG", post(f"{PATH}?format=jpeg&threshold=0.5", small)): 3,
        exchange("cut-out", post(f"{PATH}?output=cutout", small)): 10,
        exchange("cut-out of VGA", post(f"{PATH}?output=cutout&crop=true", middle)): 3,
        exchange("cut-out of 12 MP", post(f"{PATH}?output=cutout", camera)): 0.2,
        exchange("composite", post(f"{PATH}?output=composite&format=jpeg", small)): 5,
        exchange("blurred", post(f"{PATH}?output=composite&background=blur:3", small)): 3,
        exchange("on a picture", form(f"{PATH}?output=composite", **both)): 3,
        exchange("grown and feathered", post(f"{PATH}?grow=5&feather=3", small)): 2,
        exchange("report", post(f"{PATH}?output=cutout", small, accept="application/json")): 4,
        exchange("remove.bg", form("/v1.0/removebg", image_file=small)): 3,
        exchange("models", get("/v1/models")): 2,
        exchange("metrics", get("/metrics")): 1,
        exchange("page", get("/")): 1,
        exchange("nothing there", get("/v1/none"), 404): 1,
        exchange("cut short", post(PATH, small[:-2000]), 422): 3,
        exchange("text", post(PATH, TEXT), 415): 3,
        exchange("bomb", post(PATH, make_bomb()), 422): 2,
        exchange("empty", post(PATH, b""), 400): 2,
        exchange("unknown parameter", post(f"{PATH}?sharpen=1", small), 400): 2,
        exchange("unknown model", post(f"{PATH}?model=none", small), 404): 2,
        abandoned(post(PATH, middle), share=0.5): 2,
        abandoned(post(PATH, middle), share=1): 3,
        abandoned(HANDSHAKE, share=1): 1,
        batch(small, TEXT, middle): 1,
        streamed(small): 0.5,
    }


def exchange(kind: str, request: bytes, status: int = 200) -> Task:
    return Exchange(ExpectedRequest(request, status, kind))


@dataclass(frozen=True, slots=True)
class Exchange:
    """A task of one request, which fails unless the response has the expected status."""

    call: ExpectedRequest

    async def __call__(self, user: User) -> None:
        status, body = await user.connection.exchange(self.call.request)
        assert status == self.call.expected, f"{self.call.kind}: {status} {body[:300]!r}"


def abandoned(request: bytes, *, share: float) -> Task:
    """Returns a task that sends this share of the request and then resets the connection."""

    async def task(user: User) -> None:
        _, writer = await asyncio.open_connection(HOST, user.port)
        writer.write(request[: int(share * len(request))])
        await writer.drain()
        writer.transport.abort()

    return task


def batch(*photos: bytes) -> Task:
    async def task(user: User) -> None:
        batch = user.client.segment_batch(photos, output="cutout")
        results = [result async for result in batch]
        segmented = [isinstance(result, Segmented) for result in results]
        assert segmented == [photo is not TEXT for photo in photos]

    return task


def streamed(frame: bytes) -> Task:
    async def task(user: User) -> None:
        async with user.client.stream(output="mask") as stream:
            for _ in range(FRAMES):
                await stream.send(frame)
                assert isinstance(await anext(stream), Result)

    return task


def form(path: str, **files: bytes) -> bytes:
    """Returns a multipart request with these files."""
    request = httpx.Request("POST", f"http://{HOST}{path}", files=files)
    return post(path, request.read(), content_type=request.headers["content-type"])


@cache
def camera_photo(size_hw: Size = CAMERA, levels: int = 6) -> np.ndarray:
    """Returns uint8 [h,w,3] with noise of up to `levels`, by default that of a dark scene."""
    noise = np.random.default_rng(0).integers(-levels, levels + 1, (*size_hw, 3), np.int8)
    return cv2.add(person(*size_hw), noise, dtype=cv2.CV_8U)
