"""Triton's extensions below `/v2`: model configuration, statistics and repository index."""

import asyncio
import time

import httpx
import pytest

from silhouette_seg.errors import EngineFailed
from silhouette_seg.spec import load_spec
from tests.integration.conftest import in_process, until
from tests.integration.inference import check_idle, infer
from tests.support.fake_triton import FakeTriton, serve_triton
from tests.support.images import make_jpeg
from tests.support.tensors import json_request, parse_error, parse_output, random_inputs
from tests.support.tiny_model import tiny_spec

INDEX = "/v2/repository/index"
STATS = "/v2/models/connectnet/stats"
NEVER = {"count": 0, "ns": 0}


async def statistics(service, path=STATS):
    answer = await service.client.get(path)
    (model,) = answer.json()["model_stats"]
    return model


async def test_config_describes_the_model_like_triton(service):
    answer = await service.client.get("/v2/models/connectnet/config")
    spec = service.gateway.registry.get().spec
    height, width = spec.size_hw
    assert answer.json() == {
        "name": "connectnet",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [1]}},
        "max_batch_size": spec.max_batch,
        "input": [{"name": "image", "data_type": "TYPE_UINT8", "dims": [height, width, 3]}],
        "output": [{"name": "alpha", "data_type": "TYPE_UINT8", "dims": [height, width]}],
        "default_model_filename": "model.onnx",
        "parameters": {"sha256": {"string_value": spec.sha256}},
    }
    versioned = await service.client.get("/v2/models/connectnet/versions/1/config")
    assert versioned.json() == answer.json()


async def test_statistics_count_requests_rows_and_batches(service):
    before, began_ms = await statistics(service), time.time() * 1000
    parse_output(await infer(service))
    parse_output(await infer(service, json_request(random_inputs(tiny_spec(), 3))))
    after = await statistics(service)
    assert after["inference_count"] - before["inference_count"] == 4
    assert after["execution_count"] - before["execution_count"] == 2
    assert after["last_inference"] >= began_ms - 1
    stages, earlier = after["inference_stats"], before["inference_stats"]
    for stage in ("success", "queue", "compute_infer"):
        assert stages[stage]["count"] - earlier[stage]["count"] == 2
    assert stages["success"]["ns"] >= stages["queue"]["ns"] + stages["compute_infer"]["ns"] > 0
    unused = ("fail", "compute_input", "compute_output", "cache_hit", "cache_miss")
    assert [stages[stage] for stage in unused] == [NEVER] * 5
    batches = {
        batch["batch_size"]: batch["compute_infer"]["count"] for batch in after["batch_stats"]
    }
    assert batches == {1: before["execution_count"] + 1, 3: 1}


async def test_statistics_count_photos(service):
    before = await statistics(service)
    assert (await service.segment(make_jpeg())).status_code == 200
    assert (await statistics(service))["inference_count"] == before["inference_count"] + 1


async def test_statistics_of_all_models_are_those_of_each(service):
    await infer(service)
    own = await statistics(service)
    assert await statistics(service, "/v2/models/stats") == own
    assert await statistics(service, "/v2/models/connectnet/versions/1/stats") == own


async def test_statistics_count_batches_of_joined_requests(settings_with, gated):
    async with in_process(settings_with(engine="gated", max_batch=4, workers=1)) as service:
        engine = gated[0]
        engine.gate.clear()
        before = await statistics(service)
        calls = [asyncio.ensure_future(infer(service)) for _ in range(3)]
        await until(lambda: service.gateway.engines[0].queued == 2)
        engine.gate.set()
        for call in calls:
            parse_output(await call)
        after = await statistics(service)
        assert after["inference_count"] - before["inference_count"] == 3
        assert after["execution_count"] - before["execution_count"] == 2


async def test_statistics_count_failures(settings_with, gated):
    async with in_process(settings_with(engine="gated")) as service:
        gated[0].fail_next(EngineFailed("broken"))
        parse_error(await infer(service), 503)
        stages = (await statistics(service))["inference_stats"]
        assert stages["fail"]["count"] == 1
        assert stages["fail"]["ns"] > 0


async def test_statistics_with_triton_leave_out_its_batches(repository, settings_with):
    triton = FakeTriton([load_spec(repository / "connectnet")])
    async with serve_triton(triton) as port:
        settings = settings_with(engine="triton", triton_url=f"127.0.0.1:{port}")
        async with in_process(settings) as service:
            before = await statistics(service)
            parse_output(await infer(service))
            after = await statistics(service)
    assert after["inference_count"] == before["inference_count"] + 1
    assert not {"execution_count", "batch_stats"} & after.keys()


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": true}', b'{"ready": false, "x": 1}'])
async def test_index_lists_the_ready_models(service, body):
    answer = await service.client.post(INDEX, content=body)
    entry = {"name": "connectnet", "version": "1", "state": "READY", "reason": ""}
    assert (answer.status_code, answer.json()) == (200, [entry])
    check_idle(service)


async def test_index_has_the_reason_of_unavailable_models(settings_with, gated):
    async with in_process(settings_with(engine="gated"), ready=False) as service:
        gated[0].gate.clear()
        (entry,) = (await service.client.post(INDEX)).json()
        assert entry["state"] == "UNAVAILABLE"
        assert "warming up" in entry["reason"]
        assert (await service.client.post(INDEX, json={"ready": True})).json() == []
        gated[0].gate.set()
        await until(lambda: service.gateway.registry.ready)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b'{"ready": 1}', 400), (b"[" * 4000, 400), (b" " * 4097, 413)],
)
async def test_invalid_index_request_is_refused(service, body, status):
    parse_error(await service.client.post(INDEX, content=body), status)


@pytest.mark.parametrize(
    "path", ["models/none/config", "models/connectnet/versions/2/config", "models/none/stats"]
)
async def test_extension_of_unknown_model_is_a_404(service, path):
    parse_error(await service.client.get(f"/v2/{path}"), 404)


async def test_extensions_without_key_are_a_401(settings_with):
    async with in_process(settings_with(api_keys="sesame")) as keyed:
        answers: list[httpx.Response] = [
            await keyed.client.get("/v2/models/stats"),
            await keyed.client.get("/v2/models/connectnet/config"),
            await keyed.client.post(INDEX),
        ]
        for answer in answers:
            parse_error(answer, 401)
