"""Routing of photos by their faces.

The fake detector finds one face: full height, as wide as the photo's middle is green. The alpha of
md_trisenet's fake is red xor domain.
"""

import asyncio

import numpy as np
import pytest

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import EngineFailed
from silhouette_seg.pipeline.domain_router import FaceRouter
from silhouette_seg.pipeline.faces import Domain, DomainDecision
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.pipeline.temporal_context import NoContext
from silhouette_seg.pipeline.zoom import ZOOM_FACTOR
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import Size
from tests.support.fakes import RecordingEngine
from tests.support.tiny_model import tiny_spec
from tests.unit.pipeline.red_photos import behind_a_queue, red

SPEC = tiny_spec("md_trisenet", size_hw=(24, 32))
FACES = tiny_spec("face_detector", size_hw=(16, 16))


class RecordingTask:
    """A frame task that records the sizes which `decode` is asked for."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.min_sizes: list[Size] = []

    def decode(self, min_size: Size) -> Frame:
        self.min_sizes.append(min_size)
        return self.frame

    def render(self, frame: Frame, matte: Matte) -> Matte:
        return matte


@pytest.fixture
def detector() -> RecordingEngine:
    return RecordingEngine(FACES)


@pytest.fixture
def segmenter(workers, detector) -> Segmenter:
    return Segmenter(FakeEngine(SPEC), workers, FaceRouter(detector, workers))


def photo(green: int, hw: tuple[int, int] = (24, 32)) -> Frame:
    frame = red(hw, level=64)
    frame.rgb[..., 1] = green
    return frame


@pytest.mark.parametrize(
    ("green", "domain"),
    [
        (0, Domain.NO_FACE),
        (1, Domain.FAR_SHOT),
        (2, Domain.WHOLE_BODY),
        (20, Domain.HALF_BODY),
        (50, Domain.CLOSE_SHOT),
        (200, Domain.HEAD_SHOT),
    ],
)
async def test_face_decides_the_domain_input(segmenter, green, domain):
    matte = await segmenter.segment(photo(green, (16, 16)))
    assert matte.decision is not None
    assert matte.decision.domain is domain
    assert matte.decision.face_ratio == pytest.approx(green / 255, abs=1e-6)
    assert (matte.alpha == 64 ^ domain).all()
    assert matte.timings.route_s > 0


async def test_face_ratio_excludes_the_letterbox(segmenter):
    """The face covers 200/255 of the input's columns, and so all of the photo's."""
    matte = await segmenter.segment(photo(200, (64, 16)))
    assert matte.decision is not None
    assert matte.decision.domain is Domain.HEAD_SHOT
    assert matte.decision.face_ratio == pytest.approx(1)


async def test_decision_holds_the_dominant_face(segmenter):
    """The face has full height and starts at the left, as wide as the photo is green."""
    matte = await segmenter.segment(photo(51, (16, 16)))
    assert matte.decision is not None
    face = matte.decision.face
    assert face is not None
    assert (face.top, face.left, face.height) == (0, 0, 1)
    assert face.width == pytest.approx(0.2, abs=1e-6)


async def test_photo_without_a_face_has_ratio_zero(segmenter):
    matte = await segmenter.segment(photo(0))
    assert matte.decision == DomainDecision(Domain.NO_FACE, (), detector_ran=True)
    assert matte.decision.face_ratio == 0


async def test_concurrent_photos_get_their_own_domains(workers):
    engine, detector = (behind_a_queue(FakeEngine(s), 64) for s in (SPEC, FACES))
    segmenter = Segmenter(engine, workers, FaceRouter(detector, workers))
    greens = (0, 1, 2, 20, 50, 200) * 4
    mattes = await asyncio.gather(*(segmenter.segment(photo(g)) for g in greens))
    alone = [await segmenter.segment(photo(green)) for green in greens]
    for together, single in zip(mattes, alone, strict=True):
        assert together.decision == single.decision
        np.testing.assert_array_equal(together.alpha, single.alpha)


async def test_given_domain_skips_the_detector(segmenter, detector):
    matte = await segmenter.segment(photo(200), domain=Domain.FAR_SHOT)
    assert matte.decision == DomainDecision(Domain.FAR_SHOT, (), detector_ran=False)
    assert matte.decision.face_ratio is None
    assert (matte.alpha == 64 ^ Domain.FAR_SHOT).all()
    assert detector.batch_sizes == []


async def test_given_domain_keeps_the_faces_that_are_asked_for(segmenter):
    matte = await segmenter.segment(photo(51, (16, 16)), domain=Domain.FAR_SHOT, find_faces=True)
    assert matte.decision is not None
    assert matte.decision.domain is Domain.FAR_SHOT
    assert matte.decision.face_ratio == pytest.approx(0.2, abs=1e-6)
    assert (matte.alpha == 64 ^ Domain.FAR_SHOT).all()


async def test_missing_detector_gives_the_domain_no_face(workers):
    segmenter = Segmenter(FakeEngine(SPEC), workers)
    matte = await segmenter.segment(photo(200))
    assert matte.decision == DomainDecision(Domain.NO_FACE, (), detector_ran=False)
    assert (matte.alpha == 64 ^ Domain.NO_FACE).all()


async def test_model_without_domain_runs_no_detector(workers, detector):
    segmenter = Segmenter(FakeEngine(tiny_spec()), workers, FaceRouter(detector, workers))
    matte = await segmenter.segment(photo(200))
    assert (matte.decision, detector.batch_sizes) == (None, [])
    with pytest.raises(ValueError, match="no domain"):
        await segmenter.segment(photo(200), domain=Domain.FAR_SHOT)


async def test_model_without_domain_finds_the_face_that_is_asked_for(workers, detector):
    segmenter = Segmenter(FakeEngine(tiny_spec()), workers, FaceRouter(detector, workers))
    matte = await segmenter.segment(photo(51, (16, 16)), find_faces=True)
    assert matte.decision is not None
    assert matte.decision.face is not None
    assert matte.decision.face.width == pytest.approx(0.2, abs=1e-6)
    assert detector.batch_sizes == [1]


@pytest.mark.parametrize(
    ("faces_hw", "domain", "enough"),
    [
        ((16, 16), None, (24, 32)),
        ((148, 148), None, (148, 148)),
        ((16, 148), None, (24, 148)),
        ((148, 148), Domain.FAR_SHOT, (24, 32)),
    ],
)
async def test_minimum_size_suffices_for_model_and_detector(workers, faces_hw, domain, enough):
    detector = FakeEngine(tiny_spec("face_detector", size_hw=faces_hw))
    segmenter = Segmenter(FakeEngine(SPEC), workers, FaceRouter(detector, workers))
    task = RecordingTask(photo(0))
    await segmenter.run(task, domain=domain, context=NoContext())
    assert task.min_sizes == [enough]


async def test_minimum_size_of_a_photo_allows_a_zoom(segmenter):
    task = RecordingTask(photo(0))
    await segmenter.run(task)
    assert task.min_sizes == [(ZOOM_FACTOR * 24, ZOOM_FACTOR * 32)]


async def test_detector_failure_reaches_the_caller(segmenter, detector):
    detector.fail_next(EngineFailed("broken"))
    with pytest.raises(EngineFailed):
        await segmenter.segment(photo(200))


async def test_cancelled_call_leaves_the_detector(segmenter, detector):
    detector.gate.clear()
    call = asyncio.create_task(segmenter.segment(photo(200)))
    await detector.wait_for_batches(1)
    call.cancel()
    await asyncio.wait([call])
    assert detector.running == 0
