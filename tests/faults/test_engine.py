"""An engine in the process that fails, hangs or runs on another device."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import onnxruntime
import pytest

from silhouette_seg.app import create_app
from silhouette_seg.engine import health
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.engine.health import FAILURE_THRESHOLD
from silhouette_seg.errors import EngineFailed
from silhouette_seg.lifecycle import drain
from tests.faults.metrics import Metrics
from tests.integration.conftest import PATIENCE_S, InProcess, in_process
from tests.integration.disconnecting_client import post_and_disconnect
from tests.integration.pictures import picture, refusal
from tests.support.images import make_jpeg, quadrants

JPEG = make_jpeg(quadrants())
READINESS_PATHS = ("/readyz", "/v2/health/ready", "/v2/models/connectnet/ready")


@pytest.fixture
async def service(settings_with, gated) -> AsyncIterator[InProcess]:
    async with in_process(settings_with(engine="gated", workers=1)) as running:
        yield running


@pytest.fixture
def engine(service, gated) -> FakeEngine:
    return gated[0]


@pytest.fixture
def metrics(service) -> Metrics:
    return Metrics(service.client)


@pytest.fixture
def no_probe_interval(monkeypatch) -> None:
    """Lets every health check probe the model."""
    monkeypatch.setattr(health, "PROBE_INTERVAL_S", 0.0)


async def fail(service: InProcess, times: int) -> None:
    for _ in range(times):
        answer = await service.segment(JPEG)
        assert refusal(answer, 503, "engine_failed")["retryable"] is True
        assert answer.headers["retry-after"] == "1"


async def readiness(service: InProcess) -> set[int]:
    """Returns the statuses of all readiness routes; a model that is not ready counts as 503."""
    (card,) = (await service.client.get("/v1/models")).json()["models"]
    answers = [(await service.client.get(path)).status_code for path in READINESS_PATHS]
    return {*answers, 200 if card["ready"] else 503}


async def recover_by_probe(service: InProcess) -> None:
    """Sends no photo: the next readiness check probes the model."""


async def recover_by_photo(service: InProcess) -> None:
    picture(await service.segment(JPEG))


@pytest.mark.parametrize("recover", [recover_by_probe, recover_by_photo])
async def test_failing_engine_is_unready_until_it_works(
    service,
    engine,
    metrics,
    no_probe_interval,
    caplog,
    recover: Callable[[InProcess], Awaitable[None]],
):
    engine.persistent_error = EngineFailed("It fell over.")
    await fail(service, FAILURE_THRESHOLD - 1)
    assert await readiness(service) == {200}
    assert not await metrics.failing()

    await fail(service, 1)
    assert await readiness(service) == {503}
    refusal(await service.client.get("/readyz"), 503, "engine_failed")
    assert (await service.client.get("/livez")).status_code == 200
    assert await metrics.requests(503, "engine_failed") == FAILURE_THRESHOLD
    assert await metrics.requests(503, "engine_failed", "/readyz") == 2
    assert await metrics.engine_failures("engine_failed") >= FAILURE_THRESHOLD
    assert await metrics.failing()
    assert await metrics.value("silhouette_ready") == 0

    engine.persistent_error = None
    await recover(service)
    assert await readiness(service) == {200}
    assert not await metrics.failing()
    assert await metrics.value("silhouette_ready") == 1
    lines = [line for line in caplog.messages if line.startswith("connectnet ")]
    assert lines == ["connectnet fails repeatedly", "connectnet works again"]


async def test_draining_service_reports_draining_over_failing_engine(service, engine):
    engine.persistent_error = EngineFailed("It fell over.")
    await fail(service, FAILURE_THRESHOLD)
    await drain(service.gateway, PATIENCE_S)
    refusal(await service.client.get("/readyz"), 503, "draining")


async def test_concurrent_readiness_checks_share_one_probe(service, engine):
    engine.persistent_error = EngineFailed("It fell over.")
    await fail(service, FAILURE_THRESHOLD)
    before = len(engine.batch_sizes)
    answers = await asyncio.gather(*(service.client.get("/readyz") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {503}
    assert len(engine.batch_sizes) == before + 1


async def test_photo_that_always_fails_does_not_make_service_unready(service, engine, metrics):
    def fail_for_a_person(alpha: np.ndarray) -> np.ndarray:
        if alpha.any():
            raise EngineFailed("Not this one.")
        return alpha

    engine.transform_output = fail_for_a_person
    await fail(service, FAILURE_THRESHOLD + 1)
    assert await metrics.failing()
    assert await readiness(service) == {200}
    assert not await metrics.failing()


async def test_hanging_engine_is_not_ready(settings_with, gated, no_probe_interval, monkeypatch):
    monkeypatch.setattr(health, "PROBE_TIMEOUT_S", 0.05)
    settings = settings_with(engine="gated", workers=1, request_timeout_s=0.1)
    async with in_process(settings) as service:
        metrics = Metrics(service.client)
        gated[0].gate.clear()
        posts = 0
        async with asyncio.timeout(PATIENCE_S):
            # On a busy machine a photo may time out before it reaches the engine.
            while (ready := await service.client.get("/readyz")).status_code == 200:
                refusal(await service.segment(JPEG), 504, "deadline_exceeded")
                posts += 1
        refusal(ready, 503, "engine_failed")
        assert posts >= FAILURE_THRESHOLD
        assert await metrics.requests(504, "deadline_exceeded") == posts
        assert await metrics.failing()

        monkeypatch.setattr(health, "PROBE_TIMEOUT_S", PATIENCE_S)
        gated[0].gate.set()
        assert (await service.client.get("/readyz")).status_code == 200
        assert not await metrics.failing()


async def test_disconnected_clients_do_not_count_as_failures(service, engine, metrics):
    engine.gate.clear()
    for number in range(FAILURE_THRESHOLD):
        leave = asyncio.Event()
        before = len(engine.batch_sizes)
        post = asyncio.create_task(post_and_disconnect(service, leave, "/v1/segment", JPEG))
        async with asyncio.timeout(PATIENCE_S):
            await engine.wait_for_batches(before + 1)
        leave.set()
        await post
        assert await metrics.requests(499, "client_gone") == number + 1
    assert not await metrics.failing()
    engine.gate.set()
    assert await readiness(service) == {200}


WRONG_OUTPUTS = {
    "a row less": lambda alpha: alpha[:-1],
    "a row more": lambda alpha: np.concatenate([alpha, alpha]),
    "another size": lambda alpha: alpha[:, :-1],
    "an axis more": lambda alpha: alpha[..., None],
    "another kind": lambda alpha: alpha.astype(np.float32),
}


@pytest.mark.parametrize("wrong", WRONG_OUTPUTS)
async def test_output_of_wrong_shape_is_a_failure(service, engine, metrics, caplog, wrong):
    engine.transform_output = WRONG_OUTPUTS[wrong]
    await fail(service, FAILURE_THRESHOLD)
    assert await metrics.engine_failures("engine_failed") == FAILURE_THRESHOLD
    assert await metrics.requests(503, "engine_failed") == FAILURE_THRESHOLD
    assert await readiness(service) == {503}
    # The difference appears in the log only.
    assert "ValueError('connectnet" in caplog.text
    assert "(1, 24, 32)" not in (await service.segment(JPEG)).text
    engine.transform_output = lambda alpha: alpha
    picture(await service.segment(JPEG))


async def test_unexpected_exception_is_counted_without_its_text(service, engine, metrics):
    engine.persistent_error = RuntimeError("secret of the engine")
    for _ in range(FAILURE_THRESHOLD):
        answer = await service.segment(JPEG)
        refusal(answer, 500, "internal")
        assert "secret" not in answer.text
    assert await metrics.engine_failures("internal") == FAILURE_THRESHOLD
    refusal(await service.client.get("/readyz"), 503, "engine_failed")


@pytest.fixture
def runtime_without_cuda(monkeypatch) -> None:
    """Makes ONNX Runtime claim to have CUDA; it still runs on the CPU."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    claimed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: claimed)


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider':UserWarning")
def test_start_fails_if_runtime_uses_another_provider(settings_with, runtime_without_cuda):
    with pytest.raises(EngineFailed, match="CPUExecutionProvider instead of CUDAExecutionProvider"):
        create_app(settings_with(device="cuda"))


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider':UserWarning")
async def test_allowed_other_provider_is_reported(settings_with, runtime_without_cuda, caplog):
    async with in_process(settings_with(device="cuda", allow_degraded=True)) as service:
        answer = await service.segment(JPEG)
        degraded = await Metrics(service.client).value("silhouette_engine_degraded")
    assert answer.headers["x-backend"] == "CPUExecutionProvider"
    assert degraded == 1
    assert "degraded: ONNX Runtime runs the model on CPUExecutionProvider" in caplog.text
