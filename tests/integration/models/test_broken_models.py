"""A service with a broken model: it starts, says why, and serves the rest."""

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from silhouette_seg.errors import EngineFailed
from tests.faults.metrics import Metrics
from tests.integration.conftest import in_process, until
from tests.integration.pictures import picture, refusal
from tests.integration.stream_client import ClosedByServer, streaming
from tests.integration.webrtc_client import SDP
from tests.support.images import make_jpeg, quadrants
from tests.support.sdp import offer, video
from tests.support.tiny_model import tiny_spec, write_tiny_model

JPEG = make_jpeg(quadrants())
AUTO, OTHER = "rcrnet", "connectnet"
"""Names of two models: the one that `auto` selects, and one that is not required."""


@pytest.fixture
def models(tmp_path) -> Path:
    for name in (AUTO, OTHER):
        write_tiny_model(tmp_path, tiny_spec(name))
    return tmp_path


def edit_spec(folder: Path, **fields: object) -> None:
    file = folder / "spec.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def exchange_weights(folder: Path) -> None:
    """Gives the folder the graph of another size, with the digest of that graph."""
    spec = write_tiny_model(folder.parent / "elsewhere", tiny_spec(folder.name, size_hw=(8, 8)))
    graph = spec.model_file(folder.parent / "elsewhere").read_bytes()
    (folder / "1" / "model.onnx").write_bytes(graph)
    edit_spec(folder, sha256=spec.sha256)


def write_garbage(folder: Path) -> None:
    (folder / "1" / "model.onnx").write_bytes(b"no graph")
    edit_spec(folder, sha256=sha256(b"no graph").hexdigest())


FAULTS = [
    pytest.param(lambda f: (f / "spec.json").unlink(), "spec.json is missing", id="no spec"),
    pytest.param(
        lambda f: (f / "1" / "model.onnx").unlink(), "weights .* cannot be read", id="no weights"
    ),
    pytest.param(
        lambda f: (f / "spec.json").write_text("{"), "spec.json is invalid: Invalid JSON", id="JSON"
    ),
    pytest.param(lambda f: edit_spec(f, colour="red"), "colour: Extra inputs", id="unknown key"),
    pytest.param(lambda f: edit_spec(f, sha256="0" * 64), "do not match the digest", id="digest"),
    pytest.param(write_garbage, "cannot load the model on cpu", id="bad graph"),
    pytest.param(exchange_weights, r"has image tensor\(uint8\) \[-1, 8, 8, 3\]", id="shapes"),
]


@pytest.mark.parametrize(("damage", "reason"), FAULTS)
async def test_broken_model_is_listed_and_others_serve(settings_with, models, damage, reason):
    damage(models / OTHER)
    async with in_process(settings_with(model_repository=models)) as service:
        ready = (await service.client.get("/readyz")).json()
        listed = (await service.client.get("/v1/models")).json()
        answer = await service.segment(JPEG)
        refused = await service.segment(JPEG, f"?model={OTHER}")
        metrics = Metrics(service.client)
        assert await metrics.failing(OTHER)
        assert not await metrics.failing(AUTO)
        assert await metrics.value("silhouette_ready") == 1
    assert ready["status"] == "ready"
    (failed,) = ready["failed"]
    assert failed["name"] == OTHER
    assert re.search(reason, failed["reason"])
    assert str(models) not in failed["reason"]
    assert listed["failed"] == ready["failed"]
    assert [(model["name"], model["ready"]) for model in listed["models"]] == [(AUTO, True)]
    picture(answer)
    assert answer.headers["x-model"].startswith(AUTO)
    document = refusal(refused, 500, "model_failed")
    assert failed["reason"] in document["detail"]
    assert document["retryable"] is False
    assert "retry-after" not in refused.headers


@pytest.mark.parametrize(("damage", "reason"), FAULTS)
async def test_broken_auto_model_makes_the_service_unready(settings_with, models, damage, reason):
    damage(models / AUTO)
    async with in_process(settings_with(model_repository=models), ready=False) as service:
        await until(lambda: service.gateway.registry.tried)
        document = refusal(await service.client.get("/readyz"), 503, "engine_failed")
        await until(lambda: service.gateway.registry.is_warm(OTHER))
        picture(await service.segment(JPEG, f"?model={OTHER}"))
        refusal(await service.segment(JPEG), 500, "model_failed")
        listed = (await service.client.get("/v1/models")).json()
        assert await Metrics(service.client).value("silhouette_ready") == 0
    assert re.search(reason, document["detail"])
    assert listed["auto"] == AUTO
    assert [failed["name"] for failed in listed["failed"]] == [AUTO]


async def test_named_model_that_is_broken_makes_the_service_unready(settings_with, models):
    (models / OTHER / "1" / "model.onnx").unlink()
    settings = settings_with(model_repository=models, models=(AUTO, OTHER))
    async with in_process(settings, ready=False) as service:
        await until(lambda: service.gateway.registry.tried)
        document = refusal(await service.client.get("/readyz"), 503, "engine_failed")
        picture(await service.segment(JPEG))
    assert document["detail"].startswith(f"{OTHER} is not available: ")


async def test_model_that_fails_its_warm_up_is_listed(settings_with, models, gated):
    settings = settings_with(model_repository=models, engine="gated")
    async with in_process(settings, ready=False) as service:
        other = next(engine for engine in gated if engine.spec.name == OTHER)
        other.fail_next(EngineFailed("The output is not finite."))
        await until(lambda: not service.gateway.registry.cold)
        ready = (await service.client.get("/readyz")).json()
    assert ready["failed"] == [{"name": OTHER, "reason": "The output is not finite"}]


async def test_model_that_hangs_at_warm_up_delays_no_other(settings_with, models, gated):
    settings = settings_with(model_repository=models, engine="gated")
    async with in_process(settings, ready=False) as service:
        other = next(engine for engine in gated if engine.spec.name == OTHER)
        other.gate.clear()
        await until(lambda: service.gateway.registry.ready)
        assert (await service.client.get("/readyz")).json() == {"status": "ready"}
        picture(await service.segment(JPEG))
        listed = (await service.client.get("/v1/models")).json()["models"]
        assert {card["name"]: card["ready"] for card in listed} == {AUTO: True, OTHER: False}
        other.gate.set()


async def test_broken_model_is_unavailable_in_open_inference_protocol(settings_with, models):
    (models / OTHER / "spec.json").write_text("{}")
    async with in_process(settings_with(model_repository=models)) as service:
        get = service.client.get
        assert (await get("/v2/health/ready")).status_code == 200
        assert (await get(f"/v2/models/{AUTO}/ready")).status_code == 200
        for path, status in ((f"/v2/models/{OTHER}", 500), (f"/v2/models/{OTHER}/ready", 503)):
            answer = await get(path)
            assert answer.status_code == status
            assert "spec.json is invalid" in answer.json()["error"]
        index = (await service.client.post("/v2/repository/index")).json()
        ready = await service.client.post("/v2/repository/index", json={"ready": True})
    assert [(entry["name"], entry["state"]) for entry in index] == [
        (AUTO, "READY"),
        (OTHER, "UNAVAILABLE"),
    ]
    assert "spec.json is invalid" in index[1]["reason"]
    assert [entry["name"] for entry in ready.json()] == [AUTO]


async def test_broken_model_is_refused_with_its_reason_on_every_route(settings_with, models):
    (models / OTHER / "spec.json").unlink()
    detail = f"{OTHER} is not available: spec.json is missing."
    async with in_process(settings_with(model_repository=models)) as service:
        post = service.client.post
        photo = {"image": ("a.jpg", JPEG)}
        refused = [
            await post(f"/v1/segment/batch?model={OTHER}", files=photo),
            await post(f"/api/remove?model={OTHER}", files={"file": ("a.jpg", JPEG)}),
            await post(f"/v1/webrtc?model={OTHER}", content=offer(video()), headers=SDP),
        ]
        for answer in refused:
            assert refusal(answer, 500, "model_failed")["detail"] == detail
        inferred = await post(f"/v2/models/{OTHER}/infer", json={"inputs": []})
        assert (inferred.status_code, inferred.json()) == (500, {"error": detail})
        with pytest.raises(ClosedByServer) as closed:
            async with streaming(service.app, model=OTHER):
                pass
    assert (closed.value.code, closed.value.reason) == (4400, f"model_failed: {detail}")


async def test_removebg_refuses_a_broken_auto_model_with_its_reason(settings_with, models):
    (models / AUTO / "spec.json").unlink()
    async with in_process(settings_with(model_repository=models), ready=False) as service:
        await until(lambda: service.gateway.registry.tried)
        answer = await service.client.post("/v1.0/removebg", files={"image_file": ("a.jpg", JPEG)})
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"]) == (500, "model_failed")
    assert error["detail"] == f"{AUTO} is not available: spec.json is missing."


async def test_repeated_failure_of_other_model_leaves_the_service_ready(
    settings_with, models, gated
):
    settings = settings_with(model_repository=models, engine="gated")
    async with in_process(settings) as service:
        await until(lambda: not service.gateway.registry.cold)
        other = next(engine for engine in gated if engine.spec.name == OTHER)
        other.persistent_error = EngineFailed("broken")
        for _ in range(3):
            refusal(await service.segment(JPEG, f"?model={OTHER}"), 503, "engine_failed")
        ready = (await service.client.get("/readyz")).json()
        other.persistent_error = None
        picture(await service.segment(JPEG, f"?model={OTHER}"))
        later = (await service.client.get("/readyz")).json()
    assert ready["failed"] == [{"name": OTHER, "reason": "it fails repeatedly"}]
    assert later == {"status": "ready"}
