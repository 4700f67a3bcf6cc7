"""Visits of every kind that callers pay, mistakes and sudden farewells included."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache

import cv2
import httpx
import numpy as np

from silhouette_seg.client import Client, Result
from silhouette_seg.client.photos import Segmented
from silhouette_seg.vision.geometry import Size
from tests.support.images import TEXT, make_bomb, make_jpeg, make_png, make_webp, person
from training.benchmark.wire import HOST, Call, Connection, get, post

CLIENTS = 4
"""At once."""
PATH = "/v1/segment"
SMALL, MIDDLE, LARGE, CAMERA = (240, 320), (480, 640), (720, 1280), (3000, 4000)
PHONE = (6144, 8160)
"""The largest photo of today's phones: 50.1 megapixels."""
FRAMES = 5
PATIENCE_S = 120
HANDSHAKE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """A connection that is kept, and the Python client for what takes more than one exchange."""

    port: int
    connection: Connection
    client: Client


Visit = Callable[[Caller], Awaitable[None]]


async def pay(port: int, visits: Iterable[Visit]) -> None:
    """Each of `CLIENTS` callers pays the next visit as soon as its last one is over."""
    left = iter(visits)
    url = f"http://{HOST}:{port}"

    async def caller() -> None:
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(Connection(port))
            client = await stack.enter_async_context(Client(url, timeout_s=PATIENCE_S))
            for visit in left:
                await visit(Caller(port, connection, client))

    async with asyncio.TaskGroup() as callers:
        for _ in range(CLIENTS):
            callers.create_task(caller())


def every_visit_at_once() -> list[Visit]:
    """Each kind by all callers together: no later moment needs more memory than some of these."""
    return [visit for visit in kinds() for _ in range(CLIENTS)]


def visits(count: int, seed: int = 0) -> list[Visit]:
    """Small photos mostly; the same for the same seed."""
    drawn = random.Random(seed).choices(list(kinds()), list(kinds().values()), k=count)
    return list(drawn)


@cache
def kinds() -> dict[Visit, float]:
    """Kind -> how often it comes."""
    small, middle, large = (make_jpeg(person(*size)) for size in (SMALL, MIDDLE, LARGE))
    camera = make_jpeg(camera_photo())
    wall = make_webp(person(*SMALL))
    both = {"image": small, "background_image": wall}
    return {
        asked("mask", post(PATH, small)): 20,
        asked("mask of VGA", post(PATH, middle)): 10,
        asked("mask of HD", post(PATH, large)): 4,
        asked("mask of 12 MP", post(PATH, camera)): 0.4,
        asked("mask as the model gives it", post(f"{PATH}?refine=none", small)): 3,
        asked("mask of a PNG", post(PATH, make_png(person(*SMALL)))): 4,
        asked("mask of a WebP", post(PATH, wall)): 4,
        asked("mask as WebP", post(f"{PATH}?format=webp", small)): 3,
        asked("mask as JPEG", post(f"{PATH}?format=jpeg&threshold=0.5", small)): 3,
        asked("cut-out", post(f"{PATH}?output=cutout", small)): 10,
        asked("cut-out of VGA", post(f"{PATH}?output=cutout&crop=true", middle)): 3,
        asked("cut-out of 12 MP", post(f"{PATH}?output=cutout", camera)): 0.2,
        asked("composite", post(f"{PATH}?output=composite&format=jpeg", small)): 5,
        asked("blurred", post(f"{PATH}?output=composite&background=blur:3", small)): 3,
        asked("on a picture", form(f"{PATH}?output=composite", **both)): 3,
        asked("grown and feathered", post(f"{PATH}?grow=5&feather=3", small)): 2,
        asked("report", post(f"{PATH}?output=cutout", small, accept="application/json")): 4,
        asked("remove.bg", form("/v1.0/removebg", image_file=small)): 3,
        asked("models", get("/v1/models")): 2,
        asked("metrics", get("/metrics")): 1,
        asked("page", get("/")): 1,
        asked("nothing there", get("/v1/none"), 404): 1,
        asked("cut short", post(PATH, small[:-2000]), 422): 3,
        asked("text", post(PATH, TEXT), 415): 3,
        asked("bomb", post(PATH, make_bomb()), 422): 2,
        asked("empty", post(PATH, b""), 400): 2,
        asked("unknown parameter", post(f"{PATH}?sharpen=1", small), 400): 2,
        asked("unknown model", post(f"{PATH}?model=none", small), 404): 2,
        left_behind(post(PATH, middle), share=0.5): 2,
        left_behind(post(PATH, middle), share=1): 3,
        left_behind(HANDSHAKE, share=1): 1,
        batch(small, TEXT, middle): 1,
        streamed(small): 0.5,
    }


def asked(kind: str, request: bytes, status: int = 200) -> Visit:
    return Asked(Call(request, status, kind))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is answered as it should be."""

    call: Call

    async def __call__(self, caller: Caller) -> None:
        status, body = await caller.connection.exchange(self.call.request)
        assert status == self.call.expected, f"{self.call.kind}: {status} {body[:300]!r}"


def left_behind(request: bytes, *, share: float) -> Visit:
    """A caller who is gone when that share of the request was sent."""

    async def visit(caller: Caller) -> None:
        _, writer = await asyncio.open_connection(HOST, caller.port)
        writer.write(request[: int(share * len(request))])
        await writer.drain()
        writer.transport.abort()

    return visit


def batch(*photos: bytes) -> Visit:
    async def visit(caller: Caller) -> None:
        answers = await caller.client.segment_batch(photos, output="cutout")
        whole = [isinstance(answer, Segmented) for answer in answers]
        assert whole == [photo is not TEXT for photo in photos]

    return visit


def streamed(frame: bytes) -> Visit:
    async def visit(caller: Caller) -> None:
        async with caller.client.stream(output="mask") as stream:
            for _ in range(FRAMES):
                await stream.send(frame)
                assert isinstance(await anext(stream), Result)

    return visit


def form(path: str, **files: bytes) -> bytes:
    """A multipart request of these files."""
    made = httpx.Request("POST", f"http://{HOST}{path}", files=files)
    return post(path, made.read(), content_type=made.headers["content-type"])


@cache
def camera_photo(size_hw: Size = CAMERA, levels: int = 6) -> np.ndarray:
    """uint8 [h,w,3] with noise of up to `levels`: by default that of a phone in the dark."""
    noise = np.random.default_rng(0).integers(-levels, levels + 1, (*size_hw, 3), np.int8)
    return cv2.add(person(*size_hw), noise, dtype=cv2.CV_8U)
