"""Second pass on a crop. The fake model predicts a person of a sixteenth of the sides exactly."""

import asyncio

import numpy as np
import pytest

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import EngineFailed
from silhouette_seg.pipeline.domain_router import FaceRouter
from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.pipeline.temporal_context import NoContext
from silhouette_seg.vision.codec.decode import Frame
from tests.support.fakes import RecordingEngine
from tests.support.tiny_model import tiny_spec
from tests.unit.pipeline.red_photos import behind_a_queue, red

SPEC = tiny_spec("md_trisenet", size_hw=(64, 64))
FACES = tiny_spec("face_detector", size_hw=(16, 16))


def photo(side: int = 80, *, level: int = 255, hw: tuple[int, int] = (1280, 1280)):
    """Returns a photo of a red square a little to the right of the middle."""
    frame = red(hw, level=0)
    frame.rgb[600 : 600 + side, 640 : 640 + side, 0] = level
    return frame


@pytest.fixture
def engine() -> RecordingEngine:
    return RecordingEngine(tiny_spec(size_hw=(64, 64)))


@pytest.fixture
def segmenter(workers, engine) -> Segmenter:
    return Segmenter(engine, workers)


async def test_small_person_is_predicted_again_at_full_detail(segmenter, engine):
    matte = await segmenter.segment(photo())
    assert (matte.passes, engine.batch_sizes) == (2, [1, 1])
    truth = photo().rgb[..., 0]
    assert (np.abs(matte.alpha.astype(int) - truth) > 127).mean() < 0.0002
    person = engine.inputs[-1]["image"][0, ..., 0] > 127
    assert person.mean() == pytest.approx(1 / 4, abs=0.05)


async def test_zoom_changes_nothing_outside_the_crop(workers, engine, segmenter):
    frame = photo()
    frame.rgb[..., 0] = np.maximum(frame.rgb[..., 0], 90)
    matte = await segmenter.segment(frame)
    single = await segmenter.segment(frame, context=NoContext())
    outside = np.ones(frame.photo_hw, bool)
    outside[560:720, 600:760] = False
    assert (matte.passes, single.passes) == (2, 1)
    np.testing.assert_array_equal(matte.alpha[outside], single.alpha[outside])


@pytest.mark.parametrize(("side", "level"), [(1000, 255), (80, 100), (80, 0)])
async def test_close_shot_or_noise_is_predicted_once(segmenter, engine, side, level):
    frame = red((1280, 1280), level=0)
    frame.rgb[100 : 100 + side, 100 : 100 + side, 0] = level
    matte = await segmenter.segment(frame)
    assert (matte.passes, engine.batch_sizes) == (1, [1])


async def test_frame_of_a_stream_is_predicted_once(segmenter, engine):
    frame = photo()
    matte = await segmenter.segment(frame, context=NoContext())
    assert (matte.passes, engine.batch_sizes) == (1, [1])


async def test_quality_describes_the_zoomed_mask(segmenter):
    matte = await segmenter.segment(photo())
    assert matte.quality.coverage == pytest.approx((80 / 1280) ** 2, rel=0.1)
    assert matte.quality.foreground


async def test_zoom_of_a_reduced_decode_has_the_photos_size(segmenter):
    whole = await segmenter.segment(photo())
    frame = Frame(np.ascontiguousarray(photo().rgb[::2, ::2]), (1280, 1280))
    matte = await segmenter.segment(frame)
    assert matte.passes == 2
    assert matte.alpha.shape == (1280, 1280)
    assert np.abs(matte.alpha.astype(int) - whole.alpha).mean() < 0.1


async def test_zoom_waits_in_the_queue_as_well(workers):
    engine = FakeEngine(tiny_spec(size_hw=(64, 64)))
    segmenter = Segmenter(behind_a_queue(engine), workers)
    once = await segmenter.segment(photo(), context=NoContext())
    assert once.timings.queue_s > 0
    engine.gate.clear()
    call = asyncio.create_task(segmenter.segment(photo()))
    await engine.wait_for_batches(2)
    engine.gate.set()
    twice = await call
    assert twice.passes == 2
    assert min(twice.timings.stages().values()) >= 0


async def test_failure_of_the_second_pass_reaches_the_caller(workers):
    """The first mask alone would be a different result for the same photo."""
    engine = FakeEngine(tiny_spec(size_hw=(64, 64)))
    engine.gate.clear()
    call = asyncio.create_task(Segmenter(engine, workers).segment(photo()))
    await engine.wait_for_batches(1)
    engine.fail_next(EngineFailed("broken"))
    engine.gate.set()
    with pytest.raises(EngineFailed):
        await call


async def test_crop_has_the_domain_of_its_rescaled_face(workers):
    """A tiny face of the photo is larger in the crop."""
    engine, detector = RecordingEngine(SPEC), FakeEngine(FACES)
    segmenter = Segmenter(engine, workers, FaceRouter(detector, workers))
    frame = photo()
    frame.rgb[..., 1] = 4
    matte = await segmenter.segment(frame)
    assert matte.decision is not None
    assert matte.decision.domain is Domain.WHOLE_BODY
    assert matte.passes == 2
    assert engine.inputs[-1]["domain"] == [Domain.HEAD_SHOT]
    assert detector.batch_sizes == [1]


async def test_given_domain_holds_for_both_passes(workers):
    engine = RecordingEngine(SPEC)
    matte = await Segmenter(engine, workers).segment(photo(), domain=Domain.FAR_SHOT)
    assert matte.passes == 2
    assert engine.inputs[-1]["domain"] == [Domain.FAR_SHOT]


async def test_face_without_a_person_is_predicted_again(workers):
    """The first mask is empty; the detector finds a face at the left."""
    engine, detector = RecordingEngine(SPEC), FakeEngine(FACES)
    segmenter = Segmenter(engine, workers, FaceRouter(detector, workers))
    frame = red((640, 1280), level=0)
    frame.rgb[..., 1] = 2
    matte = await segmenter.segment(frame)
    assert matte.passes == 2
    assert not matte.quality.foreground
