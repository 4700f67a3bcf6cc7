"""The service with its models on a Triton that stops, restarts and fails."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack

import pytest
from grpc import StatusCode

from silhouette_seg.api.request.parameters import parse_parameters
from silhouette_seg.cli.local import CliOptions, open_runner
from silhouette_seg.cli.tasks import plan_tasks
from silhouette_seg.errors import EngineFailed
from silhouette_seg.lifecycle import drain
from silhouette_seg.spec import load_spec
from silhouette_seg.vision.codec.header import ImageFormat
from tests.integration.conftest import PATIENCE_S, in_process
from tests.integration.pictures import picture, refusal
from tests.support.fake_triton import FakeTriton, serve_triton
from tests.support.images import make_jpeg, quadrants

JPEG = make_jpeg(quadrants())
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def triton(repository):
    return FakeTriton([load_spec(repository / "connectnet")])


@pytest.fixture
async def port(triton):
    """Port of a Triton that runs throughout the test."""
    async with serve_triton(triton) as port:
        yield port


@pytest.fixture
async def unused_port(triton):
    """Port for a Triton that the test starts."""
    async with serve_triton(triton) as port:
        pass
    return port


@pytest.fixture
def settings_at(settings_with):
    def make(port, **more):
        return settings_with(engine="triton", triton_url=f"127.0.0.1:{port}", **more)

    return make


async def poll_status(service, path, status):
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await service.client.get(path)).status_code != status:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # gRPC reconnects in its own time
    return answer


def metric(service, name):
    return service.gateway.telemetry.registry.get_sample_value(name, {"model": "connectnet"})


async def test_photo_has_the_same_mask_with_triton(settings_at, port, service):
    async with in_process(settings_at(port)) as remote:
        assert (await remote.client.get("/readyz")).json() == {"status": "ready"}
        remote_response = await remote.segment(JPEG)
        local_response = await service.segment(JPEG)
    assert remote_response.headers["x-backend"] == "triton:cpu"
    assert (picture(remote_response) == picture(local_response)).all()


async def test_triton_receives_trace_and_deadline_of_the_request(settings_at, triton, port):
    async with in_process(settings_at(port, request_timeout_s=300)) as service:
        triton.calls.clear()
        await service.segment(JPEG, traceparent=TRACEPARENT, x_request_id="order-17")
    (call,) = triton.calls
    assert call.headers["traceparent"] == TRACEPARENT
    assert call.request.id == "order-17"
    assert 200 < call.time_remaining <= 301


async def test_photos_are_sent_to_triton_one_by_one(settings_at, triton, port):
    async with in_process(settings_at(port, workers=1, max_batch=8)) as service:
        triton.calls.clear()
        triton.gate.clear()
        posts = [asyncio.create_task(service.segment(JPEG)) for _ in range(4)]
        await triton.wait_until(lambda: triton.running == 4)
        triton.gate.set()
        for post in posts:
            picture(await post)
    assert [call.request.inputs[0].shape[0] for call in triton.calls] == [1] * 4


async def test_request_timeout_is_a_504_and_cancels_the_call(settings_at, triton, port):
    async with in_process(settings_at(port, request_timeout_s=0.3)) as service:
        triton.gate.clear()
        refusal(await service.segment(JPEG), 504, "deadline_exceeded")
        await triton.wait_until(lambda: triton.running == 0)


async def test_start_fails_with_another_model_on_triton(settings_at, triton, port, caplog):
    triton.configs["connectnet"].input[0].dims[0] = 99
    with pytest.raises(EngineFailed, match=r"input image is UINT8 \[-1, 99, 32, 3\]"):
        async with in_process(settings_at(port)):
            pass
    assert "refusing to start" in caplog.text


async def test_start_fails_with_a_slower_device_on_triton(settings_at, port):
    with pytest.raises(EngineFailed, match="requires tensorrt"):
        async with in_process(settings_at(port, device="tensorrt")):
            pass


async def test_allowed_slower_device_starts_and_sets_the_metric(settings_at, port):
    for device, degraded in (("tensorrt", 1), ("cpu", 0)):
        settings = settings_at(port, device=device, allow_degraded=True)
        async with in_process(settings) as service:
            assert metric(service, "silhouette_engine_degraded") == degraded


async def test_process_exits_when_the_start_fails(repository, triton, port):
    triton.configs["connectnet"].max_batch_size = 1
    settings = {
        "SILHOUETTE_ENGINE": "triton",
        "SILHOUETTE_TRITON_URL": f"127.0.0.1:{port}",
        "SILHOUETTE_MODEL_REPOSITORY": str(repository),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "silhouette_seg", "serve", "--port", "0"),
        env={**os.environ, **settings},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        _, log = await process.communicate()
    assert process.returncode not in (0, None)
    assert "max_batch_size is 1 and should be 8" in log.decode()


async def test_service_is_ready_after_triton_starts(settings_at, triton, unused_port):
    async with in_process(settings_at(unused_port), ready=False) as service:
        assert (await service.client.get("/livez")).status_code == 200
        refusal(await service.client.get("/readyz"), 503, "engine_down")
        refusal(await service.segment(JPEG), 503, "warming_up")
        async with serve_triton(triton, unused_port):
            await poll_status(service, "/readyz", 200)
            picture(await service.segment(JPEG))


async def test_warm_up_is_repeated_after_a_timeout(settings_at, triton, port):
    triton.failures = [(StatusCode.DEADLINE_EXCEEDED, "")]
    async with in_process(settings_at(port), ready=False) as service:
        await poll_status(service, "/readyz", 200)
    assert triton.failures == []


async def test_service_is_ready_again_after_triton_restarts(settings_at, triton, unused_port):
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        await first.enter_async_context(serve_triton(triton, unused_port))
        service = await stack.enter_async_context(in_process(settings_at(unused_port)))
        await first.aclose()

        assert (await service.client.get("/livez")).status_code == 200
        refusal(await service.client.get("/readyz"), 503, "engine_down")
        down = await service.segment(JPEG)
        refusal(down, 503, "engine_down")
        assert down.headers["retry-after"] == "1"

        await stack.enter_async_context(serve_triton(triton, unused_port))
        await poll_status(service, "/readyz", 200)
        picture(await service.segment(JPEG))


async def test_failing_model_is_not_ready_until_it_works(settings_at, triton, port):
    async with in_process(settings_at(port)) as service:
        failure = (StatusCode.INTERNAL, "Traceback: /opt/secret/model.py")
        triton.failures = [failure] * 3
        for _ in range(3):
            answer = await service.segment(JPEG)
            refusal(answer, 503, "engine_failed")
            assert "secret" not in answer.text
        refusal(await service.client.get("/readyz"), 503, "engine_failed")
        await poll_status(service, "/readyz", 200)
        picture(await service.segment(JPEG))


async def test_drain_cancels_calls_on_triton(settings_at, triton, port):
    async with in_process(settings_at(port)) as service:
        triton.gate.clear()
        post = asyncio.create_task(service.segment(JPEG))
        await triton.wait_until(lambda: triton.running == 1)
        await drain(service.gateway, 0.05)
        refusal(await post, 503, "draining")
    await triton.wait_until(lambda: triton.running == 0)


async def test_cli_segments_files_on_triton(settings_at, port, tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(JPEG)
    (task,) = plan_tasks([photo], tmp_path / "masks", ImageFormat.PNG).tasks
    options = CliOptions(parse_parameters({}, has_background_image=False))
    notices: list[tuple[object, ...]] = []
    async with open_runner(options, settings_at(port)) as runner:
        assert await runner.segment_photo(task, lambda *notice: notices.append(notice)) is None
    assert notices == []
    assert (tmp_path / "masks" / "photo.png").exists()
