"""Start, overload, deadlines and stop of the service, with an engine that the test holds back."""

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
from tests.integration.disconnecting_client import post_and_disconnect, scope_of
from tests.integration.pictures import picture, refusal
from tests.support.images import make_jpeg, make_png, quadrants

JPEG = make_jpeg(quadrants())


@pytest.fixture
async def held(settings_with, gated):
    """Ready service with a closed engine, one slot for photos and one place in the queue."""
    settings = settings_with(engine="gated", workers=1, queue_size=1, photos_at_once=1)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        gated[0].batch_sizes.clear()
        yield service
        gated[0].gate.set()


async def test_service_is_alive_but_not_ready_during_warm_up(settings_with, gated, monkeypatch):
    settings = settings_with(engine="gated")
    async with in_process(settings, ready=False) as service:
        gated[0].gate.clear()

        assert (await service.client.get("/livez")).status_code == 200
        document = refusal(await service.client.get("/readyz"), 503, "warming_up")
        assert document["retryable"] is True
        rejected = await service.segment(JPEG)
        refusal(rejected, 503, "warming_up")
        assert rejected.headers["retry-after"] == "1"
        cards = (await service.client.get("/v1/models")).json()["models"]
        assert [card["ready"] for card in cards] == [False]

        gated[0].gate.set()
        await until(lambda: service.gateway.registry.ready)
        assert (await service.client.get("/readyz")).json() == {"status": "ready"}
        picture(await service.segment(JPEG))


async def test_service_with_failed_warm_up_never_becomes_ready(settings_with, gated, caplog):
    settings = settings_with(engine="gated")
    async with in_process(settings, ready=False) as service:
        gated[0].fail_next(RuntimeError("weights of straw"))
        await until(lambda: service.gateway.registry.tried)
        document = refusal(await service.client.get("/readyz"), 503, "engine_failed")
        assert "connectnet is not available: it failed on its first picture" in document["detail"]
        refusal(await service.segment(JPEG), 500, "model_failed")
    assert "weights of straw" in caplog.text


NO_GPU = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this ONNX Runtime has a GPU provider",
)


@NO_GPU
def test_missing_device_prevents_the_start(settings_with):
    with pytest.raises(EngineFailed, match="without"):
        create_app(settings_with(device="tensorrt"))


@NO_GPU
async def test_degraded_engine_starts_and_sets_the_metric(settings_with, caplog):
    for device, degraded in (("tensorrt", 1), ("cuda", 1), ("cpu", 0)):
        async with in_process(settings_with(device=device, allow_degraded=True)) as service:
            response = await service.segment(JPEG)
            assert response.headers["x-backend"] == "CPUExecutionProvider"
            metrics = (await service.client.get("/metrics")).text
            assert f'silhouette_engine_degraded{{model="connectnet"}} {degraded}.0' in metrics
    assert "degraded: This ONNX Runtime was built without" in caplog.text


async def test_full_queue_rejects_photo_before_reading_its_body(held, gated):
    running, waiting = [asyncio.create_task(held.segment(JPEG)) for _ in range(2)]
    await gated[0].wait_for_batches(1)
    await until(lambda: held.gateway.photo_queue.queued == 1)

    async def body() -> AsyncIterator[bytes]:
        pytest.fail("the body of a rejected photo was read")
        yield b""

    rejected = await held.client.post("/v1/segment", content=body())

    refusal(rejected, 503, "overloaded")
    assert rejected.headers["retry-after"] == "1"
    gated[0].gate.set()
    picture(await running)
    picture(await waiting)


async def test_photo_with_too_long_estimated_wait_is_rejected_at_once(settings_with, gated):
    settings = settings_with(
        engine="gated", workers=1, photos_at_once=1, queue_size=100, queue_timeout_s=2
    )
    async with in_process(settings) as service:
        gated[0].gate.clear()
        photos = [asyncio.create_task(service.segment(JPEG)) for _ in range(40)]
        rejected, admitted = await asyncio.wait(photos, return_when=asyncio.FIRST_COMPLETED)

        for task in rejected:
            document = refusal(task.result(), 503, "overloaded")
            assert document["limit"] == 2
            assert document["actual"] > 2
            assert task.result().headers["retry-after"] == "3"
        # No photo has finished yet: the initial estimate is a tenth of a second each.
        assert service.gateway.photo_queue.queued in (19, 20)
        gated[0].gate.set()
        responses = await asyncio.gather(*admitted)
        assert sum(response.status_code == 200 for response in responses) in (20, 21)


async def test_photo_over_pixel_limit_waits_undecoded(settings_with, gated):
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
        for response in await asyncio.gather(*both):
            picture(response)


async def test_stream_frames_bypass_the_photo_queue(held, gated):
    """A stream holds a place of its own, so that its frames never wait behind photos."""
    both = [asyncio.create_task(held.segment(JPEG)) for _ in range(2)]
    await until(lambda: held.gateway.photo_queue.queued == 1)
    frame = decode(JPEG, read_header(JPEG))
    PRIORITY.set(Priority.LIVE)
    result = asyncio.create_task(
        held.gateway.registry.get().with_pool(held.gateway.stream_pool).segment(frame)
    )
    await until(lambda: queue_depth(held) == 1)
    gated[0].gate.set()
    assert (await result).alpha.any()
    await asyncio.gather(*both)


def queue_depth(service: InProcess) -> int:
    """Returns the number of images that wait for the model."""
    value = service.gateway.telemetry.registry.get_sample_value(
        "silhouette_queue_depth", {"model": "connectnet"}
    )
    return int(value or 0)


async def test_request_over_body_memory_is_rejected(settings_with, gated):
    settings = settings_with(engine="gated", max_body_bytes=len(JPEG))
    async with in_process(settings) as service:
        gated[0].gate.clear()
        running = [asyncio.create_task(service.segment(JPEG)) for _ in range(16)]
        await until(lambda: service.gateway.body_memory.reserved == 16 * len(JPEG))

        refusal(await service.segment(JPEG), 503, "overloaded")

        gated[0].gate.set()
        await asyncio.gather(*running)
        assert service.gateway.body_memory.reserved == 0


async def test_request_over_deadline_cancels_its_work(settings_with, gated):
    async with in_process(settings_with(engine="gated", request_timeout_s=0.2)) as service:
        gated[0].gate.clear()

        document = refusal(await service.segment(JPEG), 504, "deadline_exceeded")

        assert document["retryable"] is True
        await until(lambda: gated[0].running == 0)
        assert service.gateway.photo_queue.running_pixels == 0
        gated[0].gate.set()
        picture(await service.segment(JPEG))


async def test_photo_with_running_thread_keeps_its_slot_after_deadline(settings_with, monkeypatch):
    """The thread still holds the pixels, but the caller gets its response at once."""
    started, release = threading.Event(), threading.Event()

    def stuck(*_: object) -> bytes:
        started.set()
        assert release.wait(PATIENCE_S)
        return b""

    async with in_process(settings_with(request_timeout_s=0.2)) as service:
        monkeypatch.setattr(photo, "encode", stuck)
        refusal(await service.segment(JPEG), 504, "deadline_exceeded")
        assert started.is_set()
        assert service.gateway.requests.count == 0
        assert service.gateway.photo_queue.running == 1
        release.set()
        await until(lambda: service.gateway.photo_queue.running == 0)


async def test_image_over_engine_queue_timeout_is_rejected(settings_with, gated):
    settings = settings_with(engine="gated", workers=1, photos_at_once=2, queue_timeout_s=0.05)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        gated[0].batch_sizes.clear()
        running = asyncio.create_task(service.segment(JPEG))
        await gated[0].wait_for_batches(1)

        refusal(await service.segment(JPEG), 503, "overloaded")

        gated[0].gate.set()
        picture(await running)


async def test_disconnect_during_inference_cancels_the_work(held, gated):
    leave = asyncio.Event()
    request = asyncio.create_task(post_and_disconnect(held, leave, "/v1/segment", JPEG))
    await gated[0].wait_for_batches(1)

    leave.set()
    sent = await request

    assert sent[0]["status"] == 499
    await until(lambda: gated[0].running == 0)
    assert held.gateway.requests.count == 0
    assert held.gateway.photo_queue.running_pixels == 0
    assert held.gateway.body_memory.reserved == 0


async def test_disconnect_in_queue_frees_the_place(held, gated):
    running = asyncio.create_task(held.segment(JPEG))
    await gated[0].wait_for_batches(1)
    leave = asyncio.Event()
    request = asyncio.create_task(post_and_disconnect(held, leave, "/v1/segment", JPEG))
    await until(lambda: held.gateway.photo_queue.queued == 1)

    leave.set()
    await request
    assert held.gateway.photo_queue.queued == 0
    following = asyncio.create_task(held.segment(JPEG))
    await until(lambda: held.gateway.photo_queue.queued == 1)

    gated[0].gate.set()
    picture(await running)
    picture(await following)
    assert len(gated[0].batch_sizes) == 2


async def test_disconnect_during_upload_logs_no_error(service, caplog):
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await service.app(scope_of("/v1/segment", 100), receive, send)

    assert sent[0]["status"] == 499
    assert service.gateway.requests.count == 0
    assert caplog.records == []


async def test_finished_requests_leave_no_tasks(service):
    before = len(asyncio.all_tasks())
    await asyncio.gather(*(service.segment(JPEG) for _ in range(20)))
    await service.segment(JPEG, "?nope=1")
    assert len(asyncio.all_tasks()) == before


async def test_drain_rejects_new_requests_and_finishes_running_ones(held, gated):
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


async def test_drain_fails_requests_that_exceed_its_timeout(held, gated):
    running, waiting = [asyncio.create_task(held.segment(JPEG)) for _ in range(2)]
    await gated[0].wait_for_batches(1)
    await until(lambda: held.gateway.photo_queue.queued == 1)

    await drain(held.gateway, 0.01)

    refusal(await running, 503, "draining")
    refusal(await waiting, 503, "draining")


async def test_metrics_count_requests_by_route_and_code(service):
    await service.segment(JPEG)
    await service.segment(make_png(quadrants()), "?nope=1")
    await service.client.get("/made/up/path")

    response = await service.client.get("/metrics")

    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()

    def count(*labels: str) -> float:
        samples = [
            line
            for line in lines
            if line.startswith("silhouette_requests_total")
            and all(label in line for label in labels)
        ]
        return sum(float(line.rpartition(" ")[2]) for line in samples)

    assert count('route="/v1/segment"', 'status="200"', 'code="ok"') == 1
    assert count('route="/v1/segment"', 'status="400"', 'code="unknown_parameter"') == 1
    assert count('route="other"', 'code="not_found"') == 1
    assert "/made/up" not in response.text
    for stage in ("decode", "route", "queue", "infer", "post", "encode"):
        assert f'stage="{stage}"' in response.text
    assert "silhouette_requests_in_flight 0.0" in response.text


async def test_applications_in_one_process_share_no_metrics(settings_with):
    async with in_process(settings_with()) as one, in_process(settings_with()) as other:
        await one.segment(JPEG)
        metrics: list[httpx.Response] = [
            await running.client.get("/metrics") for running in (one, other)
        ]
    assert 'route="/v1/segment"' in metrics[0].text
    assert 'route="/v1/segment"' not in metrics[1].text
