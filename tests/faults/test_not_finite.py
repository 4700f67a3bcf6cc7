"""A face detector whose numbers are none. Masks cannot be: they are uint8.

The photo is refused: by another branch of its model it would get another mask than the same bytes
get from the same weights, and nobody would be told.
"""

import asyncio
import json
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from silhouette_seg.engine.batcher import Batcher
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.engine.health import FAILURE_THRESHOLD, HealthCheckedEngine
from silhouette_seg.errors import EngineFailed
from silhouette_seg.pipeline.faces import decide_domain, find_faces
from silhouette_seg.spec import ResizeRule
from silhouette_seg.vision.geometry import place
from tests.faults.metrics import Metrics
from tests.integration.conftest import InProcess, in_process
from tests.integration.pictures import picture, refusal
from tests.support.fake_triton import FakeTriton, serve_triton
from tests.support.images import make_png
from tests.support.tiny_model import tiny_spec, write_tiny_model

PHOTO = make_png(np.full((48, 64, 3), (200, 128, 0), np.uint8))
COLUMNS = ("score", "top", "left", "height", "width")
SPEC = tiny_spec("face_detector", size_hw=(2, 3))


@pytest.fixture
async def service(settings_with, gated, tmp_path) -> AsyncIterator[InProcess]:
    for name in ("connectnet", "md_trisenet", "face_detector"):
        write_tiny_model(tmp_path, tiny_spec(name))
    settings = settings_with(model_repository=tmp_path, engine="gated")
    async with in_process(settings) as running:
        yield running


@pytest.fixture
def detector(service, gated) -> FakeEngine:
    return next(each for each in gated if each.spec.name == "face_detector")


def spoiled(column: int, with_what: float):
    def spoil(faces: np.ndarray) -> np.ndarray:
        faces[:, 0, column] = with_what
        return faces

    return spoil


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(5), ids=COLUMNS)
async def test_a_photo_is_not_routed_by_it(service, detector, caplog, column, number):
    metrics = Metrics(service.client)
    detector.transform_output = spoiled(column, number)
    answer = await service.segment(PHOTO, "?model=md_trisenet")
    assert refusal(answer, 503, "engine_failed")["retryable"] is True
    assert await metrics.engine_failures("engine_failed", "face_detector") == 1
    assert await metrics.engine_failures("engine_failed", "md_trisenet") == 0
    assert await metrics.requests(503, "engine_failed") == 1


async def test_who_needs_no_face_is_answered(service, detector):
    detector.transform_output = spoiled(0, np.nan)
    picture(await service.segment(PHOTO, "?model=connectnet"))
    told = await service.segment(PHOTO, "?model=md_trisenet&domain=half_body")
    picture(told)
    assert told.headers["x-domain"] == "half_body"


async def test_it_is_not_ready_until_there_are_numbers_again(service, detector):
    detector.transform_output = spoiled(3, np.nan)
    for _ in range(FAILURE_THRESHOLD):
        refusal(await service.segment(PHOTO, "?model=md_trisenet"), 503, "engine_failed")
    refusal(await service.client.get("/readyz"), 503, "engine_failed")
    assert await Metrics(service.client).failing("face_detector")
    detector.transform_output = lambda faces: faces
    routed = await service.segment(PHOTO, "?model=md_trisenet")
    assert routed.headers["x-domain"] == "head_shot"
    assert (await service.client.get("/readyz")).status_code == 200


@pytest.mark.parametrize("binary", [False, True])
async def test_tensors_are_refused_whatever_they_are_written_in(service, detector, binary):
    detector.transform_output = spoiled(4, np.inf)
    image = {"name": "image", "shape": [1, 24, 32, 3], "datatype": "UINT8"}
    body = {
        "inputs": [image | {"data": [0] * 24 * 32 * 3}],
        "outputs": [{"name": "faces", "parameters": {"binary_data": binary}}],
    }
    answer = await service.client.post("/v2/models/face_detector/infer", content=json.dumps(body))
    assert answer.status_code == 503
    assert "not finite" in answer.json()["error"]


async def test_a_neighbour_in_the_same_batch_is_answered():
    """The second of three rows is spoiled; all three went through the model together."""
    engine = FakeEngine(SPEC)

    def spoil(faces: np.ndarray) -> np.ndarray:
        faces[faces[:, 0, 4] == 1, 0, 4] = np.nan
        return faces

    engine.transform_output = spoil
    batcher = Batcher(engine, max_batch=8, max_queue=8, queue_timeout_s=60, concurrency=1)
    target = HealthCheckedEngine(batcher)
    engine.gate.clear()
    first = asyncio.create_task(target.infer(image(0)))
    await engine.wait_for_batches(1)
    others = [asyncio.create_task(target.infer(image(green))) for green in (51, 255, 102)]
    await asyncio.sleep(0)  # each has come to the queue
    engine.gate.set()
    await first
    answers = await asyncio.gather(*others, return_exceptions=True)
    assert engine.batch_sizes == [1, 3]
    assert isinstance(answers[1], EngineFailed)
    assert [float(answers[n][0, 0, 4]) for n in (0, 2)] == pytest.approx([0.2, 0.4])


async def test_a_triton_that_gives_none_is_not_ready_either(settings_with, tmp_path):
    """Calls ready all the while: that its answers are none we find out."""
    names = ("md_trisenet", "face_detector")
    specs = [write_tiny_model(tmp_path, tiny_spec(name)) for name in names]
    triton = FakeTriton(specs)
    async with serve_triton(triton) as port:
        settings = settings_with(
            model_repository=tmp_path, engine="triton", triton_url=f"127.0.0.1:{port}"
        )
        async with in_process(settings) as service:
            triton.models["face_detector"].transform_output = spoiled(1, np.nan)
            for _ in range(FAILURE_THRESHOLD):
                refusal(await service.segment(PHOTO), 503, "engine_failed")
            refusal(await service.client.get("/readyz"), 503, "engine_failed")
            assert await Metrics(service.client).failing("face_detector")
            triton.models["face_detector"].transform_output = lambda faces: faces
            picture(await service.segment(PHOTO))
            assert (await service.client.get("/readyz")).status_code == 200


def image(green: int) -> dict[str, np.ndarray]:
    return {"image": np.full((1, *SPEC.size_hw, 3), (0, green, 0), np.uint8)}


numbers = st.floats(-1, 1) | st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(rows=st.lists(st.tuples(*[numbers] * 5), max_size=8))
@example(rows=[(0.9, 0.7, 0.7, -0.3, -0.3)])
@example(rows=[(0.9, 0.3, 0.7, 0.4, -0.3)])
def test_any_numbers_make_faces_in_the_photo_or_none(rows):
    """However mad: sides below zero, scores above one."""
    output = np.array(rows, np.float32).reshape(-1, 5)
    placement = place((300, 600), (256, 256), ResizeRule.LETTERBOX)
    for face in find_faces(output, placement):
        assert 0 <= face.top < face.top + face.height <= 1 + 1e-9
        assert 0 <= face.left < face.left + face.width <= 1 + 1e-9
    ratio = decide_domain(output, placement).face_ratio
    assert ratio is not None
    assert 0 <= ratio <= 1
