"""Access, readiness and overload of the Open Inference Protocol routes."""

import asyncio

import numpy as np
import pytest

from silhouette_seg.errors import EngineFailed
from silhouette_seg.lifecycle import drain
from silhouette_seg.spec import load_spec
from tests.integration.conftest import PATIENCE_S, in_process, until
from tests.integration.disconnecting_client import post_and_disconnect
from tests.integration.inference import IMAGE, INFER_PATH, check_idle, infer
from tests.support.fake_triton import FakeTriton, serve_triton
from tests.support.tensors import json_request, parse_error, parse_output, random_inputs
from tests.support.tiny_model import tiny_spec


@pytest.fixture
async def keyed(settings_with):
    async with in_process(settings_with(api_keys="sesame")) as running:
        yield running


@pytest.mark.parametrize("path", ["/v2", "/v2/models/connectnet", "/v2/models/connectnet/ready"])
async def test_metadata_without_key_is_a_401(keyed, path):
    answer = await keyed.client.get(path)
    parse_error(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (await keyed.client.get(path, headers={"X-Api-Key": "sesame"})).status_code == 200


async def test_infer_without_key_is_a_401_unread(keyed):
    parse_error(await infer(keyed, b"{"), 401)
    parse_output(await infer(keyed, authorization="Bearer sesame"))


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
async def test_health_routes_need_no_key(keyed, path):
    assert (await keyed.client.get(path)).status_code == 200


async def test_models_are_not_ready_while_warming_up(settings_with, gated):
    async with in_process(settings_with(engine="gated"), ready=False) as service:
        gated[0].gate.clear()
        for path in ("/v2/health/ready", "/v2/models/connectnet/ready"):
            parse_error(await service.client.get(path), 503)
        assert (await service.client.get("/v2/health/live")).status_code == 200
        assert (await service.client.get("/v2/models/connectnet")).status_code == 200
        early = await infer(service)
        assert "warming up" in parse_error(early, 503)
        assert early.headers["retry-after"] == "1"
        gated[0].gate.set()
        await until(lambda: service.gateway.registry.ready)
        parse_output(await infer(service))


async def test_models_are_not_ready_without_triton(repository, settings_with):
    triton = FakeTriton([load_spec(repository / "connectnet")])
    async with serve_triton(triton) as port:
        settings = settings_with(engine="triton", triton_url=f"127.0.0.1:{port}")
        running = in_process(settings)
        service = await running.__aenter__()
    try:
        parse_error(await service.client.get("/v2/health/ready"), 503)
        parse_error(await service.client.get("/v2/models/connectnet/ready"), 503)
        gone = await infer(service)
        parse_error(gone, 503)
        assert gone.headers["retry-after"] == "1"
    finally:
        await running.__aexit__(None, None, None)


@pytest.fixture
async def blocked(settings_with, gated):
    """Starts a service with a blocked engine, which runs one request and queues one."""
    settings = settings_with(engine="gated", workers=1, queue_size=1, photos_at_once=1)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        gated[0].batch_sizes.clear()
        yield service
        gated[0].gate.set()
        await until(lambda: service.gateway.requests.count == 0)
        check_idle(service)


async def test_rows_of_a_request_are_one_batch(blocked, gated):
    inputs = random_inputs(tiny_spec(), 5)
    running = asyncio.create_task(infer(blocked, json_request(inputs)))
    await gated[0].wait_for_batches(1)
    assert gated[0].batch_sizes == [5]
    assert blocked.gateway.photo_queue.running_pixels == 5 * 24 * 32
    gated[0].gate.set()
    np.testing.assert_array_equal(parse_output(await running), inputs["image"][..., 0])


async def test_full_queue_is_a_503_at_once(blocked, gated):
    running, waiting = [asyncio.create_task(infer(blocked)) for _ in range(2)]
    await until(lambda: blocked.gateway.photo_queue.queued == 1)

    rejected = await infer(blocked)

    assert "Too many photos are waiting (limit 1, got 2)." in parse_error(rejected, 503)
    assert rejected.headers["retry-after"] == "1"
    gated[0].gate.set()
    parse_output(await running)
    parse_output(await waiting)


async def test_rows_count_as_pixels_in_flight(settings_with, gated):
    """A request of two rows waits while one row is running."""
    settings = settings_with(engine="gated", max_pixels_in_flight=2 * 24 * 32)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        first = asyncio.create_task(infer(service))
        await until(lambda: service.gateway.photo_queue.running == 1)
        inputs = random_inputs(tiny_spec(), 2)
        second = asyncio.create_task(infer(service, json_request(inputs)))
        await until(lambda: service.gateway.photo_queue.queued == 1)
        assert service.gateway.photo_queue.running == 1
        gated[0].gate.set()
        parse_output(await first)
        np.testing.assert_array_equal(parse_output(await second), inputs["image"][..., 0])


async def test_deadline_cancels_the_inference(settings_with, gated):
    async with in_process(settings_with(engine="gated", request_timeout_s=0.2)) as service:
        gated[0].gate.clear()
        assert "(limit 0." in parse_error(await infer(service), 504)
        await until(lambda: gated[0].running == 0)
        check_idle(service)


async def test_disconnect_cancels_the_inference(blocked, gated):
    leave = asyncio.Event()
    posted = post_and_disconnect(
        blocked, leave, INFER_PATH, json_request(IMAGE), "application/json"
    )
    request = asyncio.create_task(posted)
    await gated[0].wait_for_batches(1)
    leave.set()
    assert (await request)[0]["status"] == 499
    await until(lambda: gated[0].running == 0)
    check_idle(blocked)


async def test_engine_error_is_a_503_and_passes(blocked, gated):
    gated[0].fail_next(EngineFailed("The inference engine failed"))
    gated[0].gate.set()
    answer = await infer(blocked)
    assert parse_error(answer, 503) == "The inference engine failed"
    assert answer.headers["retry-after"] == "1"
    parse_output(await infer(blocked))


async def test_unexpected_error_is_a_500_without_details(blocked, gated, caplog):
    gated[0].fail_next(RuntimeError("secret weights"))
    gated[0].gate.set()
    assert "secret" not in parse_error(await infer(blocked), 500)
    assert "secret weights" in caplog.text


async def test_draining_rejects_new_and_finishes_running_requests(blocked, gated):
    running = asyncio.create_task(infer(blocked))
    await gated[0].wait_for_batches(1)
    draining = asyncio.create_task(drain(blocked.gateway, PATIENCE_S))
    await asyncio.sleep(0)
    parse_error(await blocked.client.get("/v2/health/ready"), 503)
    assert "shutting down" in parse_error(await infer(blocked), 503)
    gated[0].gate.set()
    parse_output(await running)
    await draining
