"""An engine in the process that dies, hangs, lies or is not the one that was asked for."""

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
from tests.integration.leaving import post_and_leave
from tests.integration.pictures import picture, refusal
from tests.support.images import make_jpeg, quadrants

JPEG = make_jpeg(quadrants())
READY = ("/readyz", "/v2/health/ready", "/v2/models/connectnet/ready")


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
def impatient(monkeypatch) -> None:
    """A check may follow at once on the one before."""
    monkeypatch.setattr(health, "PROBE_INTERVAL_S", 0.0)


async def fail(service: InProcess, times: int) -> None:
    for _ in range(times):
        answer = await service.segment(JPEG)
        assert refusal(answer, 503, "engine_failed")["retryable"] is True
        assert answer.headers["retry-after"] == "1"


async def statuses(service: InProcess) -> set[int]:
    """Of all that tell whether photos can be taken."""
    (card,) = (await service.client.get("/v1/models")).json()["models"]
    answers = [(await service.client.get(path)).status_code for path in READY]
    return {*answers, 200 if card["ready"] else 503}


async def by_itself(service: InProcess) -> None:
    """Nobody sends a photo: whoever asks whether we are ready finds out."""


async def by_a_photo(service: InProcess) -> None:
    picture(await service.segment(JPEG))


@pytest.mark.parametrize("recovers", [by_itself, by_a_photo])
async def test_a_dead_engine_is_told_until_it_works(
    service, engine, metrics, impatient, caplog, recovers: Callable[[InProcess], Awaitable[None]]
):
    engine.persistent_error = EngineFailed("It fell over.")
    await fail(service, FAILURE_THRESHOLD - 1)
    assert await statuses(service) == {200}
    assert not await metrics.failing()

    await fail(service, 1)
    assert await statuses(service) == {503}
    refusal(await service.client.get("/readyz"), 503, "engine_failed")
    assert (await service.client.get("/livez")).status_code == 200
    assert await metrics.requests(503, "engine_failed") == FAILURE_THRESHOLD
    assert await metrics.requests(503, "engine_failed", "/readyz") == 2
    assert await metrics.engine_failures("engine_failed") >= FAILURE_THRESHOLD
    assert await metrics.failing()
    assert await metrics.value("silhouette_ready") == 0

    engine.persistent_error = None
    await recovers(service)
    assert await statuses(service) == {200}
    assert not await metrics.failing()
    assert await metrics.value("silhouette_ready") == 1
    said = [line for line in caplog.messages if line.startswith("connectnet ")]
    assert said == ["connectnet fails again and again", "connectnet works again"]


async def test_a_dead_engine_of_a_service_that_stops_is_no_news(service, engine):
    engine.persistent_error = EngineFailed("It fell over.")
    await fail(service, FAILURE_THRESHOLD)
    await drain(service.gateway, PATIENCE_S)
    refusal(await service.client.get("/readyz"), 503, "draining")


async def test_asking_whether_it_is_ready_is_cheap_however_often(service, engine):
    engine.persistent_error = EngineFailed("It fell over.")
    await fail(service, FAILURE_THRESHOLD)
    before = len(engine.batch_sizes)
    answers = await asyncio.gather(*(service.client.get("/readyz") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {503}
    assert len(engine.batch_sizes) == before + 1


async def test_a_photo_that_fails_alone_does_not_make_a_service_unready(service, engine, metrics):
    def fails_for_a_person(alpha: np.ndarray) -> np.ndarray:
        if alpha.any():
            raise EngineFailed("Not this one.")
        return alpha

    engine.transform_output = fails_for_a_person
    await fail(service, FAILURE_THRESHOLD + 1)
    assert await metrics.failing()
    assert await statuses(service) == {200}
    assert not await metrics.failing()


async def test_an_engine_that_hangs_is_not_ready(settings_with, gated, impatient, monkeypatch):
    monkeypatch.setattr(health, "PROBE_TIMEOUT_S", 0.05)
    settings = settings_with(engine="gated", workers=1, request_timeout_s=0.1)
    async with in_process(settings) as service:
        metrics = Metrics(service.client)
        gated[0].gate.clear()
        posts = 0
        async with asyncio.timeout(PATIENCE_S):
            # A busy machine may give a photo up before it comes to the engine.
            while (asked := await service.client.get("/readyz")).status_code == 200:
                refusal(await service.segment(JPEG), 504, "deadline_exceeded")
                posts += 1
        refusal(asked, 503, "engine_failed")
        assert posts >= FAILURE_THRESHOLD
        assert await metrics.requests(504, "deadline_exceeded") == posts
        assert await metrics.failing()

        monkeypatch.setattr(health, "PROBE_TIMEOUT_S", PATIENCE_S)
        gated[0].gate.set()
        assert (await service.client.get("/readyz")).status_code == 200
        assert not await metrics.failing()


async def test_clients_that_leave_do_not_make_it_fail(service, engine, metrics):
    engine.gate.clear()
    for number in range(FAILURE_THRESHOLD):
        leave = asyncio.Event()
        before = len(engine.batch_sizes)
        post = asyncio.create_task(post_and_leave(service, leave, "/v1/segment", JPEG))
        async with asyncio.timeout(PATIENCE_S):
            await engine.wait_for_batches(before + 1)
        leave.set()
        await post
        assert await metrics.requests(499, "client_gone") == number + 1
    assert not await metrics.failing()
    engine.gate.set()
    assert await statuses(service) == {200}


WRONG = {
    "a row less": lambda alpha: alpha[:-1],
    "a row more": lambda alpha: np.concatenate([alpha, alpha]),
    "another size": lambda alpha: alpha[:, :-1],
    "an axis more": lambda alpha: alpha[..., None],
    "another kind": lambda alpha: alpha.astype(np.float32),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_an_answer_of_another_shape_is_none(service, engine, metrics, caplog, wrong):
    engine.transform_output = WRONG[wrong]
    await fail(service, FAILURE_THRESHOLD)
    assert await metrics.engine_failures("engine_failed") == FAILURE_THRESHOLD
    assert await metrics.requests(503, "engine_failed") == FAILURE_THRESHOLD
    assert await statuses(service) == {503}
    # What was wrong with it is for the log alone.
    assert "ValueError('connectnet" in caplog.text
    assert "(1, 24, 32)" not in (await service.segment(JPEG)).text
    engine.transform_output = lambda alpha: alpha
    picture(await service.segment(JPEG))


async def test_a_failure_that_nobody_foresaw_is_seen_too(service, engine, metrics):
    engine.persistent_error = RuntimeError("secret of the engine")
    for _ in range(FAILURE_THRESHOLD):
        answer = await service.segment(JPEG)
        refusal(answer, 500, "internal")
        assert "secret" not in answer.text
    assert await metrics.engine_failures("internal") == FAILURE_THRESHOLD
    refusal(await service.client.get("/readyz"), 503, "engine_failed")


@pytest.fixture
def lying_runtime(monkeypatch) -> None:
    """An ONNX Runtime that says it has CUDA, and then runs on the processor."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime does have CUDA")
    claimed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: claimed)


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider':UserWarning")
def test_another_provider_than_the_one_asked_for_refuses_the_start(settings_with, lying_runtime):
    with pytest.raises(EngineFailed, match="CPUExecutionProvider instead of CUDAExecutionProvider"):
        create_app(settings_with(device="cuda"))


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider':UserWarning")
async def test_another_provider_is_told_where_it_is_allowed(settings_with, lying_runtime, caplog):
    async with in_process(settings_with(device="cuda", allow_degraded=True)) as service:
        answer = await service.segment(JPEG)
        degraded = await Metrics(service.client).value("silhouette_engine_degraded")
    assert answer.headers["x-backend"] == "CPUExecutionProvider"
    assert degraded == 1
    assert "degraded: ONNX Runtime runs the model on CPUExecutionProvider" in caplog.text
