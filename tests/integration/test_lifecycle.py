"""Starting, filling up, giving up and stopping, with an engine that the test holds back."""

import asyncio
import threading
from collections.abc import AsyncIterator

import httpx
import onnxruntime
import pytest
from starlette.types import Message

from silhouette_seg.app import create_app
from silhouette_seg.engine.base import PRIORITY, Priority
from silhouette_seg.errors import EngineFailed
from silhouette_seg.lifecycle import drain
from silhouette_seg.pipeline import photo
from silhouette_seg.vision.codec.decode import decode, read_header
from tests.integration.conftest import PATIENCE_S, InProcess, in_process, until
from tests.integration.leaving import post_and_leave, scope_of
from tests.integration.pictures import picture, refusal
from tests.support.images import make_jpeg, make_png, quadrants

JPEG = make_jpeg(quadrants())


@pytest.fixture
async def held(settings_with, gated):
    """A ready service: one photo in work, in the engine, which is shut, and one that may wait."""
    settings = settings_with(engine="gated", workers=1, queue_size=1, photos_at_once=1)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        gated[0].batch_sizes.clear()
        yield service
        gated[0].gate.set()


async def test_alive_but_not_ready_while_warming_up(settings_with, gated, monkeypatch):
    settings = settings_with(engine="gated")
    async with in_process(settings, ready=False) as service:
        gated[0].gate.clear()

        assert (await service.client.get("/livez")).status_code == 200
        document = refusal(await service.client.get("/readyz"), 503, "warming_up")
        assert document["retryable"] is True
        early = await service.segment(JPEG)
        refusal(early, 503, "warming_up")
        assert early.headers["retry-after"] == "1"
        cards = (await service.client.get("/v1/models")).json()["models"]
        assert [card["ready"] for card in cards] == [False]

        gated[0].gate.set()
        await until(lambda: service.gateway.registry.ready)
        assert (await service.client.get("/readyz")).json() == {"status": "ready"}
        picture(await service.segment(JPEG))


async def test_failed_warm_up_is_never_ready(settings_with, gated, caplog):
    settings = settings_with(engine="gated")
    async with in_process(settings, ready=False) as service:
        gated[0].fail_next(RuntimeError("weights of straw"))
        await until(lambda: service.gateway.warm_up_failed)
        refusal(await service.client.get("/readyz"), 503, "engine_failed")
    assert "weights of straw" in caplog.text


NO_GPU = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this ONNX Runtime has the providers",
)


@NO_GPU
def test_a_device_that_is_not_there_refuses_the_start(settings_with):
    with pytest.raises(EngineFailed, match="without"):
        create_app(settings_with(device="tensorrt"))


@NO_GPU
async def test_degraded_starts_and_the_metric_says_so(settings_with, caplog):
    for device, degraded in (("tensorrt", 1), ("cuda", 1), ("cpu", 0)):
        async with in_process(settings_with(device=device, allow_degraded=True)) as service:
            answer = await service.segment(JPEG)
            assert answer.headers["x-backend"] == "CPUExecutionProvider"
            metrics = (await service.client.get("/metrics")).text
            assert f'silhouette_engine_degraded{{model="connectnet"}} {degraded}.0' in metrics
    assert "degraded: This ONNX Runtime was built without" in caplog.text


async def test_full_line_refuses_at_once_and_before_the_body(held, gated):
    running, waiting = [asyncio.create_task(held.segment(JPEG)) for _ in range(2)]
    await gated[0].wait_for_batches(1)
    await until(lambda: held.gateway.photo_queue.queued == 1)

    async def body() -> AsyncIterator[bytes]:
        pytest.fail("the body of a photo that is refused was read")
        yield b""

    refused = await held.client.post("/v1/segment", content=body())

    refusal(refused, 503, "overloaded")
    assert refused.headers["retry-after"] == "1"
    gated[0].gate.set()
    picture(await running)
    picture(await waiting)


async def test_photo_that_would_wait_too_long_hears_so_at_once(settings_with, gated):
    settings = settings_with(
        engine="gated", workers=1, photos_at_once=1, queue_size=100, queue_timeout_s=2
    )
    async with in_process(settings) as service:
        gated[0].gate.clear()
        some = [asyncio.create_task(service.segment(JPEG)) for _ in range(40)]
        refused, held = await asyncio.wait(some, return_when=asyncio.FIRST_COMPLETED)

        for answer in refused:
            document = refusal(answer.result(), 503, "overloaded")
            assert document["limit"] == 2
            assert document["actual"] > 2
            assert answer.result().headers["retry-after"] == "3"
        # A tenth of a second each is the first guess, since none has ended yet.
        assert service.gateway.photo_queue.queued in (19, 20)
        gated[0].gate.set()
        answers = await asyncio.gather(*held)
        assert sum(answer.status_code == 200 for answer in answers) in (20, 21)


async def test_photos_wait_undecoded_for_room(settings_with, gated):
    settings = settings_with(engine="gated", max_pixels_in_flight=10_000)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        both = [asyncio.create_task(service.segment(JPEG)) for _ in range(2)]
        await until(lambda: service.gateway.photo_queue.queued == 1)
        assert service.gateway.photo_queue.running == 1
        metrics = (await service.client.get("/metrics")).text
        assert "silhouette_photos_waiting 1.0" in metrics
        assert "silhouette_photos_working 1.0" in metrics
        gated[0].gate.set()
        for answer in await asyncio.gather(*both):
            picture(answer)


async def test_live_frames_do_not_wait_in_line(held, gated):
    """A stream has its place: the line of photos is not before it."""
    both = [asyncio.create_task(held.segment(JPEG)) for _ in range(2)]
    await until(lambda: held.gateway.photo_queue.queued == 1)
    frame = decode(JPEG, read_header(JPEG))
    PRIORITY.set(Priority.LIVE)
    live = asyncio.create_task(
        held.gateway.registry.get().with_pool(held.gateway.stream_workers).segment(frame)
    )
    await until(lambda: queued(held) == 1)
    gated[0].gate.set()
    assert (await live).alpha.any()
    await asyncio.gather(*both)


def queued(service: InProcess) -> int:
    value = service.gateway.telemetry.registry.get_sample_value(
        "silhouette_queue_depth", {"model": "connectnet"}
    )
    return int(value or 0)


async def test_too_many_bytes_in_work_are_refused(settings_with, gated):
    settings = settings_with(engine="gated", max_body_bytes=len(JPEG))
    async with in_process(settings) as service:
        gated[0].gate.clear()
        held = [asyncio.create_task(service.segment(JPEG)) for _ in range(16)]
        await until(lambda: service.gateway.body_memory.reserved == 16 * len(JPEG))

        refusal(await service.segment(JPEG), 503, "overloaded")

        gated[0].gate.set()
        await asyncio.gather(*held)
        assert service.gateway.body_memory.reserved == 0


async def test_deadline_cancels_the_work(settings_with, gated):
    async with in_process(settings_with(engine="gated", request_timeout_s=0.2)) as service:
        gated[0].gate.clear()

        document = refusal(await service.segment(JPEG), 504, "deadline_exceeded")

        assert document["retryable"] is True
        await until(lambda: gated[0].running == 0)
        assert service.gateway.photo_queue.running_pixels == 0
        gated[0].gate.set()
        picture(await service.segment(JPEG))


async def test_photo_whose_thread_outlasts_the_deadline_keeps_its_turn(settings_with, monkeypatch):
    """Until then it has its pixels; its caller does not wait for that."""
    began, release = threading.Event(), threading.Event()

    def stuck(*_: object) -> bytes:
        began.set()
        assert release.wait(PATIENCE_S)
        return b""

    async with in_process(settings_with(request_timeout_s=0.2)) as service:
        monkeypatch.setattr(photo, "encode", stuck)
        refusal(await service.segment(JPEG), 504, "deadline_exceeded")
        assert began.is_set()
        assert service.gateway.requests.count == 0
        assert service.gateway.photo_queue.running == 1
        release.set()
        await until(lambda: service.gateway.photo_queue.running == 0)


async def test_waiting_too_long_for_the_engine_is_a_503(settings_with, gated):
    settings = settings_with(engine="gated", workers=1, photos_at_once=2, queue_timeout_s=0.05)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        gated[0].batch_sizes.clear()
        running = asyncio.create_task(service.segment(JPEG))
        await gated[0].wait_for_batches(1)

        refusal(await service.segment(JPEG), 503, "overloaded")

        gated[0].gate.set()
        picture(await running)


async def test_client_that_leaves_while_the_engine_runs_takes_its_work_along(held, gated):
    leave = asyncio.Event()
    request = asyncio.create_task(post_and_leave(held, leave, "/v1/segment", JPEG))
    await gated[0].wait_for_batches(1)

    leave.set()
    sent = await request

    assert sent[0]["status"] == 499
    await until(lambda: gated[0].running == 0)
    assert held.gateway.requests.count == 0
    assert held.gateway.photo_queue.running_pixels == 0
    assert held.gateway.body_memory.reserved == 0


async def test_client_that_leaves_the_line_makes_room(held, gated):
    running = asyncio.create_task(held.segment(JPEG))
    await gated[0].wait_for_batches(1)
    leave = asyncio.Event()
    request = asyncio.create_task(post_and_leave(held, leave, "/v1/segment", JPEG))
    await until(lambda: held.gateway.photo_queue.queued == 1)

    leave.set()
    await request
    assert held.gateway.photo_queue.queued == 0
    next_one = asyncio.create_task(held.segment(JPEG))
    await until(lambda: held.gateway.photo_queue.queued == 1)

    gated[0].gate.set()
    picture(await running)
    picture(await next_one)
    assert len(gated[0].batch_sizes) == 2


async def test_client_that_leaves_while_sending_is_no_error(service, caplog):
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await service.app(scope_of("/v1/segment", 100), receive, send)

    assert sent[0]["status"] == 499
    assert service.gateway.requests.count == 0
    assert caplog.records == []


async def test_tasks_do_not_pile_up(service):
    before = len(asyncio.all_tasks())
    await asyncio.gather(*(service.segment(JPEG) for _ in range(20)))
    await service.segment(JPEG, "?nope=1")
    assert len(asyncio.all_tasks()) == before


async def test_drain_refuses_what_is_new_and_finishes_what_runs(held, gated):
    running = asyncio.create_task(held.segment(JPEG))
    await gated[0].wait_for_batches(1)
    draining = asyncio.create_task(drain(held.gateway, 20))
    await asyncio.sleep(0)

    refusal(await held.client.get("/readyz"), 503, "draining")
    refusal(await held.segment(JPEG), 503, "draining")
    assert (await held.client.get("/livez")).status_code == 200
    assert not draining.done()

    gated[0].gate.set()
    picture(await running)
    await draining


async def test_drain_fails_what_does_not_finish_in_time(held, gated):
    running, waiting = [asyncio.create_task(held.segment(JPEG)) for _ in range(2)]
    await gated[0].wait_for_batches(1)
    await until(lambda: held.gateway.photo_queue.queued == 1)

    await drain(held.gateway, 0.01)

    refusal(await running, 503, "draining")
    refusal(await waiting, 503, "draining")


async def test_metrics_tell_what_happened(service):
    await service.segment(JPEG)
    await service.segment(make_png(quadrants()), "?nope=1")
    await service.client.get("/made/up/path")

    answer = await service.client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()

    def count(*labels: str) -> float:
        wanted = [
            line
            for line in lines
            if line.startswith("silhouette_requests_total")
            and all(label in line for label in labels)
        ]
        return sum(float(line.rpartition(" ")[2]) for line in wanted)

    assert count('route="/v1/segment"', 'status="200"', 'code="ok"') == 1
    assert count('route="/v1/segment"', 'status="400"', 'code="unknown_parameter"') == 1
    assert count('route="other"', 'code="not_found"') == 1
    assert "/made/up" not in answer.text
    for stage in ("decode", "route", "queue", "infer", "post", "encode"):
        assert f'stage="{stage}"' in answer.text
    assert "silhouette_requests_in_flight 0.0" in answer.text


async def test_two_applications_do_not_share_anything(settings_with):
    async with in_process(settings_with()) as one, in_process(settings_with()) as other:
        await one.segment(JPEG)
        answers: list[httpx.Response] = [
            await running.client.get("/metrics") for running in (one, other)
        ]
    assert 'route="/v1/segment"' in answers[0].text
    assert 'route="/v1/segment"' not in answers[1].text
