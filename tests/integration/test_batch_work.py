"""`POST /v1/segment/batch`: concurrency, limits, failures, disconnects and draining."""

import asyncio
import collections
import re
import socket
from collections.abc import AsyncIterator
from contextlib import closing

import numpy as np
import pytest

from silhouette_seg.errors import EngineFailed
from silhouette_seg.lifecycle import drain
from tests.integration.batch_client import (
    JPEG,
    PATH,
    assert_released,
    image_part,
    parts_of,
    problem_of,
    send,
    send_chunks,
)
from tests.integration.conftest import (
    PATIENCE_S,
    InProcess,
    OnSocket,
    in_process,
    on_socket,
    until,
)
from tests.integration.disconnecting_client import post_and_disconnect
from tests.integration.pictures import refusal
from tests.support.damage import mutated
from tests.support.images import TEXT, make_png, quadrants


@pytest.fixture(autouse=True)
async def resources_are_released(service) -> AsyncIterator[None]:
    yield
    await assert_released(service)


@pytest.fixture
async def blocked(settings_with, gated) -> AsyncIterator[InProcess]:
    """A ready service with a blocked engine; it processes four photos of a batch at a time."""
    async with in_process(settings_with(engine="gated", workers=2)) as service:
        gated[0].gate.clear()
        gated[0].batch_sizes.clear()
        yield service
        gated[0].gate.set()


async def test_batch_photos_are_counted_by_outcome(service):
    registry = service.gateway.telemetry.registry

    def count(status: int, code: str) -> float:
        labels = {"status": str(status), "code": code}
        return registry.get_sample_value("silhouette_batch_photos_total", labels) or 0.0

    answers = ((200, "ok"), (415, "unsupported_image_type"), (400, "missing_image"))
    before = [count(*answer) for answer in answers]
    parts = parts_of(await send(service, JPEG, TEXT, JPEG, b""))
    assert [part.status for part in parts] == [200, 415, 200, 400]
    after = [count(*answer) for answer in answers]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 1, 1]


async def test_batch_photos_share_engine_runs(settings_with, gated):
    """The concurrency is twice the threads: while one run works, the next can fill up."""
    settings = settings_with(engine="gated", workers=4, max_batch=4)
    async with in_process(settings) as service:
        engine = gated[0]
        engine.gate.clear()
        engine.batch_sizes.clear()
        request = asyncio.create_task(send(service, *[JPEG] * 20))
        await engine.wait_for_batches(4)
        await until(lambda: service.gateway.photo_queue.running == 8)
        registry = service.gateway.telemetry.registry
        await until(
            lambda: (
                registry.get_sample_value("silhouette_queue_depth", {"model": "connectnet"})
                == 8 - sum(engine.batch_sizes)
            )
        )
        assert service.gateway.photo_queue.running == 8

        engine.gate.set()
        assert len(parts_of(await request)) == 20
        assert sum(engine.batch_sizes) == 20
        assert max(engine.batch_sizes) > 1


async def test_engine_failure_affects_one_batch_part(blocked, gated):
    gated[0].fail_next(EngineFailed("The engine failed."))
    gated[0].gate.set()
    parts = parts_of(await send(blocked, *[JPEG] * 5))
    assert sorted(part.status for part in parts) == [200] * 4 + [503]
    (failed,) = (part for part in parts if part.status == 503)
    assert problem_of(failed, 503, "engine_failed")["retryable"] is True
    assert failed.headers["retry-after"] == "1"


async def test_unexpected_exception_is_one_opaque_batch_part(blocked, gated, caplog):
    gated[0].fail_next(ZeroDivisionError("secret /path"))
    gated[0].gate.set()
    answer = await send(blocked, *[JPEG] * 5)
    parts = parts_of(answer)
    assert sorted(part.status for part in parts) == [200] * 4 + [500]
    (failed,) = (part for part in parts if part.status == 500)
    problem_of(failed, 500, "internal")
    assert b"secret" not in answer.content
    assert "secret /path" in caplog.text


async def test_batch_deadline_applies_to_each_photo(settings_with, gated):
    """Two photos run at a time, so four photos need two deadlines: 1 s each holds under load."""
    settings = settings_with(engine="gated", workers=1, request_timeout_s=1.0)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        parts = parts_of(await send(service, *[JPEG] * 4))
        for part in parts:
            assert problem_of(part, 504, "deadline_exceeded")["limit"] == 1.0
        await until(lambda: gated[0].running == 0)
        gated[0].gate.set()
        assert [part.status for part in parts_of(await send(service, *[JPEG] * 4))] == [200] * 4
        await assert_released(service)


async def test_batch_photos_after_the_first_wait_for_pixels(settings_with):
    async with in_process(settings_with(max_pixels_in_flight=10_000)) as service:
        parts = parts_of(await send(service, *[JPEG] * 6))
        assert [part.status for part in parts] == [200] * 6
        await assert_released(service)


async def test_full_photo_queue_rejects_the_batch(settings_with, gated):
    settings = settings_with(engine="gated", photos_at_once=1, queue_size=1)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        singles = [asyncio.create_task(service.segment(JPEG)) for _ in range(2)]
        await until(lambda: service.gateway.photo_queue.queued == 1)

        rejected = await send(service, TEXT, JPEG)
        refusal(rejected, 503, "overloaded")
        assert rejected.headers["retry-after"] == "1"

        gated[0].gate.set()
        await asyncio.gather(*singles)
        await assert_released(service)


async def test_batch_body_counts_against_the_memory_budget(settings_with, gated):
    settings = settings_with(engine="gated", max_body_bytes=len(JPEG))
    async with in_process(settings) as service:
        gated[0].gate.clear()
        request = asyncio.create_task(send(service, *[JPEG] * 15))
        await until(lambda: service.gateway.photo_queue.running == 4)

        refusal(await service.segment(JPEG), 503, "overloaded")

        gated[0].gate.set()
        assert len(parts_of(await request)) == 15
        await assert_released(service)


async def test_batch_work_is_cancelled_on_client_disconnect(blocked, gated):
    leave = asyncio.Event()
    body = image_part(JPEG) * 6 + b"--b--\r\n"
    request = asyncio.create_task(
        post_and_disconnect(blocked, leave, PATH, body, "multipart/form-data; boundary=b")
    )
    await gated[0].wait_for_batches(1)
    await until(lambda: blocked.gateway.photo_queue.running == 4)

    leave.set()
    sent = await request

    assert [message["type"] for message in sent] == ["http.response.start"]
    await until(lambda: gated[0].running == 0)
    await assert_released(blocked)
    metrics = (await blocked.client.get("/metrics")).text
    assert f'code="client_gone",route="{PATH}",status="200"' in metrics


async def test_drain_waits_for_a_running_batch(blocked, gated):
    request = asyncio.create_task(send(blocked, *[JPEG] * 6))
    await gated[0].wait_for_batches(1)
    draining = asyncio.create_task(drain(blocked.gateway, PATIENCE_S))
    await asyncio.sleep(0)
    refusal(await send(blocked, JPEG), 503, "draining")
    assert not draining.done()

    gated[0].gate.set()
    assert [part.status for part in parts_of(await request)] == [200] * 6
    await draining


async def test_drain_timeout_fails_remaining_batch_parts(blocked, gated):
    request = asyncio.create_task(send(blocked, *[JPEG] * 6))
    await gated[0].wait_for_batches(1)
    await drain(blocked.gateway, 0.01)
    for part in parts_of(await request):
        problem_of(part, 503, "draining")
    await assert_released(blocked)


async def test_batch_leaves_no_tasks_behind(service):
    before = len(asyncio.all_tasks())
    await send(service, *[JPEG] * 10, TEXT)
    assert len(asyncio.all_tasks()) == before


async def test_damaged_batch_form_never_causes_a_500(settings_with, mutations):
    image = make_png(quadrants(8, 12))
    form = image_part(image) + image_part(image) + b"--b--\r\n"
    outcomes: collections.Counter[str] = collections.Counter()
    async with in_process(settings_with()) as service:
        for number in range(mutations // 4):
            answer = await send_chunks(service, mutated(form, number))
            if answer.status_code != 200:
                assert answer.status_code in (400, 415), (number, answer.text)
                outcomes["rejected"] += 1
                continue
            statuses = [part.status for part in parts_of(answer)]
            assert set(statuses) <= {200, 400, 415, 422}, number
            outcomes["ok" if set(statuses) == {200} else "some"] += 1
        await assert_released(service)
    assert outcomes.keys() == {"rejected", "ok", "some"}, outcomes


# Behaviour on a real socket.


def head_and_body(photos: list[bytes], query: str = "") -> bytes:
    body = b"".join(image_part(photo) for photo in photos) + b"--b--\r\n"
    lines = (
        f"POST {PATH}{query} HTTP/1.1",
        "Host: x",
        "Content-Type: multipart/form-data; boundary=b",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def connect(service: OnSocket) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_S)


def test_batch_part_is_sent_as_soon_as_it_is_done(settings_with, gated):
    """The engine finishes one photo and blocks again: the first part arrives alone."""
    with on_socket(settings_with(engine="gated", workers=1)) as service:
        engine = gated[0]
        loop = service.server.servers[0].get_loop()
        engine.gate.clear()
        before = len(engine.batch_sizes)

        async def release_one() -> None:
            engine.gate.set()
            engine.gate.clear()

        with closing(connect(service)) as connection:
            connection.sendall(head_and_body([JPEG] * 3))
            service.wait(lambda: len(engine.batch_sizes) == before + 1)
            asyncio.run_coroutine_threadsafe(release_one(), loop).result(PATIENCE_S)
            received = b""
            while not re.search(rb"X-Index: 0.*\r\n\r\n.*IEND", received, re.DOTALL):
                received += connection.recv(65536)
            assert b"X-Index: 1" not in received
            service.wait(lambda: engine.running == 1)
        service.wait(lambda: engine.running == 0)
        service.wait(lambda: service.gateway.requests.count == 0)


def test_client_that_stops_reading_a_batch_is_disconnected(settings_with):
    """The response has over 25 MB, far more than the socket buffers can hold."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    noise[..., 0] |= 0xC0  # a red so high is a person for the tiny model
    photo = make_png(noise)
    with on_socket(settings_with(request_timeout_s=3.0)) as service:
        with closing(socket.socket()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(PATIENCE_S)
            connection.connect(("127.0.0.1", service.port))
            connection.sendall(head_and_body([photo] * 16, "?output=cutout"))
            service.wait(lambda: service.gateway.body_memory.reserved > 0)
            service.wait(lambda: service.gateway.requests.count == 0)
        assert service.gateway.body_memory.reserved == 0
        assert service.gateway.photo_queue.running == 0
        labels = {"route": PATH, "status": "200", "code": "client_gone"}
        registry = service.gateway.telemetry.registry
        service.wait(lambda: registry.get_sample_value("silhouette_requests_total", labels) == 1)
