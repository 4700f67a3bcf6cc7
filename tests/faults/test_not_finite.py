"""A face detector with non-finite outputs. Masks are uint8 and always finite.

The photo is rejected. Another branch of the model would silently give it another mask, although
neither the bytes nor the weights have changed.
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
    return next(engine for engine in gated if engine.spec.name == "face_detector")


def set_column(column: int, value: float):
    """Returns a function that overwrites one column of the first face."""

    def overwrite(faces: np.ndarray) -> np.ndarray:
        faces[:, 0, column] = value
        return faces

    return overwrite


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(5), ids=COLUMNS)
async def test_photo_is_not_routed_by_non_finite_faces(service, detector, caplog, column, number):
    metrics = Metrics(service.client)
    detector.transform_output = set_column(column, number)
    answer = await service.segment(PHOTO, "?model=md_trisenet")
    assert refusal(answer, 503, "engine_failed")["retryable"] is True
    assert await metrics.engine_failures("engine_failed", "face_detector") == 1
    assert await metrics.engine_failures("engine_failed", "md_trisenet") == 0
    assert await metrics.requests(503, "engine_failed") == 1


async def test_photo_without_routing_is_segmented(service, detector):
    detector.transform_output = set_column(0, np.nan)
    picture(await service.segment(PHOTO, "?model=connectnet"))
    response = await service.segment(PHOTO, "?model=md_trisenet&domain=half_body")
    picture(response)
    assert response.headers["x-domain"] == "half_body"


async def test_service_is_unready_until_outputs_are_finite(service, detector):
    detector.transform_output = set_column(3, np.nan)
    for _ in range(FAILURE_THRESHOLD):
        refusal(await service.segment(PHOTO, "?model=md_trisenet"), 503, "engine_failed")
    refusal(await service.client.get("/readyz"), 503, "engine_failed")
    assert await Metrics(service.client).failing("face_detector")
    detector.transform_output = lambda faces: faces
    routed = await service.segment(PHOTO, "?model=md_trisenet")
    assert routed.headers["x-domain"] == "head_shot"
    assert (await service.client.get("/readyz")).status_code == 200


@pytest.mark.parametrize("binary", [False, True])
async def test_tensors_are_rejected_in_json_and_binary(service, detector, binary):
    detector.transform_output = set_column(4, np.inf)
    image = {"name": "image", "shape": [1, 24, 32, 3], "datatype": "UINT8"}
    body = {
        "inputs": [image | {"data": [0] * 24 * 32 * 3}],
        "outputs": [{"name": "faces", "parameters": {"binary_data": binary}}],
    }
    answer = await service.client.post("/v2/models/face_detector/infer", content=json.dumps(body))
    assert answer.status_code == 503
    assert "not finite" in answer.json()["error"]


async def test_other_rows_of_the_batch_are_returned():
    """The second of three rows of one batch is not finite."""
    engine = FakeEngine(SPEC)

    def set_nan(faces: np.ndarray) -> np.ndarray:
        faces[faces[:, 0, 4] == 1, 0, 4] = np.nan
        return faces

    engine.transform_output = set_nan
    batcher = Batcher(engine, max_batch=8, max_queue=8, queue_timeout_s=60, concurrency=1)
    target = HealthCheckedEngine(batcher)
    engine.gate.clear()
    first = asyncio.create_task(target.infer(image(0)))
    await engine.wait_for_batches(1)
    others = [asyncio.create_task(target.infer(image(green))) for green in (51, 255, 102)]
    await asyncio.sleep(0)  # lets each reach the queue
    engine.gate.set()
    await first
    answers = await asyncio.gather(*others, return_exceptions=True)
    assert engine.batch_sizes == [1, 3]
    assert isinstance(answers[1], EngineFailed)
    assert [float(answers[n][0, 0, 4]) for n in (0, 2)] == pytest.approx([0.2, 0.4])


async def test_triton_with_non_finite_outputs_is_unready(settings_with, tmp_path):
    """Triton itself reports ready; the gateway detects the outputs."""
    names = ("md_trisenet", "face_detector")
    specs = [write_tiny_model(tmp_path, tiny_spec(name)) for name in names]
    triton = FakeTriton(specs)
    async with serve_triton(triton) as port:
        settings = settings_with(
            model_repository=tmp_path, engine="triton", triton_url=f"127.0.0.1:{port}"
        )
        async with in_process(settings) as service:
            triton.models["face_detector"].transform_output = set_column(1, np.nan)
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
def test_finite_outputs_give_faces_inside_the_photo(rows):
    """Sides may be negative and scores above one."""
    output = np.array(rows, np.float32).reshape(-1, 5)
    placement = place((300, 600), (256, 256), ResizeRule.LETTERBOX)
    for face in find_faces(output, placement):
        assert 0 <= face.top < face.top + face.height <= 1 + 1e-9
        assert 0 <= face.left < face.left + face.width <= 1 + 1e-9
    ratio = decide_domain(output, placement).face_ratio
    assert ratio is not None
    assert 0 <= ratio <= 1
