"""`ready` and `provider` in `GET /v1/models` while the models run on Triton."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from grpc import StatusCode

from silhouette_seg.spec import load_spec
from tests.integration.conftest import PATIENCE_S, in_process
from tests.integration.pictures import refusal
from tests.support.fake_triton import FakeTriton, serve_triton
from tests.support.images import make_jpeg
from tests.support.tiny_model import tiny_spec, write_tiny_model

JPEG = make_jpeg()


@pytest.fixture
def triton(repository):
    return FakeTriton([load_spec(repository / "connectnet")])


@pytest.fixture
def settings_at(settings_with):
    def make(port):
        return settings_with(engine="triton", triton_url=f"127.0.0.1:{port}")

    return make


async def card(service):
    (model,) = (await service.client.get("/v1/models")).json()["models"]
    return model


async def test_model_is_ready_while_triton_runs(settings_at, triton):
    async with serve_triton(triton) as port, in_process(settings_at(port)) as service:
        model = await card(service)
    assert (model["ready"], model["provider"]) == (True, "triton:cpu")


async def test_model_is_not_ready_before_triton_starts(settings_at, triton):
    async with serve_triton(triton) as port:
        pass
    async with in_process(settings_at(port), ready=False) as service:
        model = await card(service)
    assert (model["ready"], model["provider"]) == (False, "triton")


async def test_model_is_not_ready_while_triton_is_stopped(settings_at, triton):
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        port = await first.enter_async_context(serve_triton(triton))
        service = await stack.enter_async_context(in_process(settings_at(port)))
        await first.aclose()

        assert not (await card(service))["ready"]

        await stack.enter_async_context(serve_triton(triton, port))
        async with asyncio.timeout(PATIENCE_S):
            while not (await card(service))["ready"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # gRPC reconnects in its own time


async def test_model_is_not_ready_while_triton_reports_unready(settings_at, triton):
    async with serve_triton(triton) as port, in_process(settings_at(port)) as service:
        triton.ready = False
        assert not (await card(service))["ready"]
        failed = (await service.client.get("/v1/models")).json()["failed"]
        reason = "The inference server is not ready for connectnet"
        assert failed == [{"name": "connectnet", "reason": reason}]
        triton.ready = True
        assert (await card(service))["ready"]


async def test_model_is_not_ready_while_it_keeps_failing(settings_at, triton):
    async with serve_triton(triton) as port, in_process(settings_at(port)) as service:
        triton.failures = [(StatusCode.INTERNAL, "broken")] * 99  # probes fail too
        for _ in range(3):
            refusal(await service.segment(JPEG), 503, "engine_failed")
        assert not (await card(service))["ready"]


async def test_model_is_not_ready_while_triton_is_silent(settings_at, triton):
    async with serve_triton(triton) as port, in_process(settings_at(port)) as service:
        triton.gate.clear()
        assert not (await card(service))["ready"]


async def test_other_model_that_triton_lacks_leaves_the_service_ready(settings_with, tmp_path):
    specs = [write_tiny_model(tmp_path, tiny_spec(name)) for name in ("connectnet", "rcrnet")]
    triton = FakeTriton(specs[1:])
    async with serve_triton(triton) as port:
        settings = settings_with(
            model_repository=tmp_path, engine="triton", triton_url=f"127.0.0.1:{port}"
        )
        async with in_process(settings) as service:
            assert (await service.client.get("/readyz")).status_code == 200
            assert (await service.segment(JPEG)).headers["x-model"] == "rcrnet"
            listed = (await service.client.get("/v1/models")).json()
    assert {card["name"]: card["ready"] for card in listed["models"]} == {
        "connectnet": False,
        "rcrnet": True,
    }
    assert [failed["name"] for failed in listed["failed"]] == ["connectnet"]
