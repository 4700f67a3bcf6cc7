"""Masks, timings and errors of one pass."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import EngineFailed, Overloaded
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.spec import ResizeRule
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.mask.quality import measure_quality
from tests.support.fakes import RecordingEngine
from tests.support.tiny_model import tiny_spec
from tests.unit.pipeline.red_photos import behind_a_queue, half_red, red


@pytest.mark.parametrize("resize", list(ResizeRule))
@pytest.mark.parametrize("hw", [(24, 32), (240, 320), (40, 400), (400, 40), (1, 1), (7, 5)])
async def test_alpha_has_the_photos_size_and_no_letterbox(workers, resize, hw):
    segmenter = Segmenter(FakeEngine(tiny_spec(resize=resize)), workers)
    matte = await segmenter.segment(red(hw))
    assert (matte.alpha.shape, matte.alpha.dtype) == (hw, np.uint8)
    assert matte.alpha.min() == 255
    assert matte.quality.coverage == 1


@pytest.mark.parametrize("resize", list(ResizeRule))
async def test_mask_lies_on_the_person(workers, resize):
    segmenter = Segmenter(FakeEngine(tiny_spec(resize=resize)), workers)
    matte = await segmenter.segment(half_red((300, 200)))
    assert matte.alpha[:, :70].min() > 250
    assert matte.alpha[:, 130:].max() < 5


async def test_alpha_of_a_reduced_decode_has_the_photos_size(workers):
    reduced = Frame(half_red((60, 80)).rgb, (480, 640))
    matte = await Segmenter(FakeEngine(tiny_spec()), workers).segment(reduced)
    assert matte.alpha.shape == (480, 640)
    assert matte.alpha[:, :280].min() > 250


async def test_quality_excludes_the_letterbox(workers):
    segmenter = Segmenter(FakeEngine(tiny_spec(size_hw=(32, 32))), workers)
    matte = await segmenter.segment(half_red((16, 32)))
    assert matte.quality == measure_quality(half_red((16, 32)).rgb[..., 0])


async def test_photo_without_a_person_has_an_empty_mask(workers):
    matte = await Segmenter(FakeEngine(tiny_spec()), workers).segment(red((30, 40), level=0))
    assert not matte.quality.foreground
    assert matte.alpha.max() == 0


async def test_segment_leaves_the_photo_unchanged(workers):
    frame = half_red((24, 32))
    before = frame.rgb.copy()
    await Segmenter(FakeEngine(tiny_spec()), workers).segment(frame)
    np.testing.assert_array_equal(frame.rgb, before)


async def test_concurrent_photos_get_their_own_masks(workers):
    segmenter = Segmenter(FakeEngine(tiny_spec()), workers)
    frames = [red((20 + n, 50 - n), level=10 * n) for n in range(20)]
    mattes = await asyncio.gather(*map(segmenter.segment, frames))
    for frame, matte in zip(frames, mattes, strict=True):
        np.testing.assert_array_equal(matte.alpha, frame.rgb[..., 0])


async def test_segmenter_names_its_model_and_provider(workers):
    segmenter = Segmenter(FakeEngine(tiny_spec(digest="ab" * 32)), workers)
    assert segmenter.spec.name == "connectnet"
    assert segmenter.digest == "ab" * 32
    assert segmenter.provider == "FakeExecutionProvider"


async def test_stages_are_ordered_and_not_negative(workers):
    matte = await Segmenter(FakeEngine(tiny_spec()), workers).segment(red((24, 32)))
    stages = matte.timings.stages()
    assert list(stages) == ["fit", "route", "queue", "infer", "post"]
    assert min(stages.values()) >= 0


async def test_engine_without_a_queue_has_no_queue_time(workers):
    matte = await Segmenter(FakeEngine(tiny_spec()), workers).segment(red((24, 32)))
    assert matte.timings.queue_s == 0
    assert matte.timings.infer_s > 0


async def test_engine_with_a_queue_has_queue_and_inference_time(workers):
    matte = await Segmenter(behind_a_queue(FakeEngine(tiny_spec())), workers).segment(red((24, 32)))
    assert matte.timings.queue_s > 0
    assert matte.timings.infer_s > 0


async def test_full_queue_raises_overloaded(workers):
    engine = FakeEngine(tiny_spec())
    engine.gate.clear()
    segmenter = Segmenter(behind_a_queue(engine, max_queue=1), workers)
    calls = [asyncio.create_task(segmenter.segment(red((24, 32)))) for _ in range(3)]
    done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert isinstance(done.pop().exception(), Overloaded)
    engine.gate.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 1


async def test_engine_failure_reaches_the_caller(workers):
    engine = FakeEngine(tiny_spec())
    engine.fail_next(EngineFailed("broken"))
    with pytest.raises(EngineFailed):
        await Segmenter(engine, workers).segment(red((24, 32)))


async def test_cancelled_call_leaves_the_engine(workers):
    engine = FakeEngine(tiny_spec())
    engine.gate.clear()
    call = asyncio.create_task(Segmenter(engine, workers).segment(red((24, 32))))
    await engine.wait_for_batches(1)
    call.cancel()
    await asyncio.wait([call])
    assert engine.running == 0


async def test_segmenter_close_closes_the_engine(workers):
    segmenter = Segmenter(FakeEngine(tiny_spec()), workers)
    await segmenter.close()
    with pytest.raises(EngineFailed):
        await segmenter.segment(red((24, 32)))


@given(
    hw=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    size_hw=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    resize=st.sampled_from(ResizeRule),
    level=st.integers(0, 255),
)
def test_uniform_photo_has_a_uniform_mask(workers, hw, size_hw, resize, level):
    segmenter = Segmenter(FakeEngine(tiny_spec(size_hw=size_hw, resize=resize)), workers)
    matte = asyncio.run(segmenter.segment(red(hw, level)))
    assert matte.alpha.shape == hw
    assert (matte.alpha == level).all()


async def test_photo_has_an_empty_prior(workers):
    engine = RecordingEngine(tiny_spec("rcrnet"))
    matte = await Segmenter(engine, workers).segment(half_red((24, 32)))
    prior = engine.inputs[-1]["prior"]
    assert (prior.dtype, prior.shape, prior.any()) == (np.uint8, (1, 24, 32), False)
    assert matte.decision is None
