import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.engine.batcher import Batcher
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import EngineFailed, Overloaded
from silhouette_seg.pipeline.domain_router import FaceRouter
from silhouette_seg.pipeline.faces import Domain, DomainDecision
from silhouette_seg.pipeline.segmenter import Matte, NoContext, Segmenter
from silhouette_seg.pipeline.zoom import ZOOM_FACTOR
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import ResizeRule
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import Size
from silhouette_seg.vision.mask.quality import measure_quality
from tests.support.tiny_model import tiny_spec


@pytest.fixture(scope="module")
def workers():
    pool = ThreadPool(2)
    yield pool
    pool.close()


def red(hw: tuple[int, int], level: int = 255) -> Frame:
    rgb = np.zeros((*hw, 3), np.uint8)
    rgb[..., 0] = level
    return Frame(rgb, hw)


def half_red(hw: tuple[int, int]) -> Frame:
    frame = red(hw)
    frame.rgb[:, hw[1] // 2 :] = 0
    return frame


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


def behind_a_queue(engine: FakeEngine, max_queue: int = 8) -> Batcher:
    return Batcher(engine, max_batch=4, max_queue=max_queue, queue_timeout_s=60, concurrency=1)


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


class RecordingEngine(FakeEngine):
    """A fake engine that records its last inputs."""

    async def infer(self, inputs):
        self.inputs = dict(inputs)
        return await super().infer(inputs)


async def test_photo_has_an_empty_prior(workers):
    engine = RecordingEngine(tiny_spec("rcrnet"))
    matte = await Segmenter(engine, workers).segment(half_red((24, 32)))
    prior = engine.inputs["prior"]
    assert (prior.dtype, prior.shape, prior.any()) == (np.uint8, (1, 24, 32), False)
    assert matte.decision is None


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


class TestRouting:
    """The fake detector finds one face: full height, as wide as the photo's middle is green.

    The alpha of md_trisenet's fake is red xor domain.
    """

    SPEC = tiny_spec("md_trisenet", size_hw=(24, 32))
    FACES = tiny_spec("face_detector", size_hw=(16, 16))

    @pytest.fixture
    def detector(self) -> RecordingEngine:
        return RecordingEngine(self.FACES)

    @pytest.fixture
    def segmenter(self, workers, detector) -> Segmenter:
        return Segmenter(FakeEngine(self.SPEC), workers, FaceRouter(detector, workers))

    def photo(self, green: int, hw: tuple[int, int] = (24, 32)) -> Frame:
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
    async def test_face_decides_the_domain_input(self, segmenter, green, domain):
        matte = await segmenter.segment(self.photo(green, (16, 16)))
        assert matte.decision is not None
        assert matte.decision.domain is domain
        assert matte.decision.face_ratio == pytest.approx(green / 255, abs=1e-6)
        assert (matte.alpha == 64 ^ domain).all()
        assert matte.timings.route_s > 0

    async def test_face_ratio_excludes_the_letterbox(self, segmenter):
        """The face covers 200/255 of the input's columns, and so all of the photo's."""
        matte = await segmenter.segment(self.photo(200, (64, 16)))
        assert matte.decision is not None
        assert matte.decision.domain is Domain.HEAD_SHOT
        assert matte.decision.face_ratio == pytest.approx(1)

    async def test_decision_holds_the_dominant_face(self, segmenter):
        """The face has full height and starts at the left, as wide as the photo is green."""
        matte = await segmenter.segment(self.photo(51, (16, 16)))
        assert matte.decision is not None
        face = matte.decision.face
        assert face is not None
        assert (face.top, face.left, face.height) == (0, 0, 1)
        assert face.width == pytest.approx(0.2, abs=1e-6)

    async def test_photo_without_a_face_has_ratio_zero(self, segmenter):
        matte = await segmenter.segment(self.photo(0))
        assert matte.decision == DomainDecision(Domain.NO_FACE, None, detector_ran=True)
        assert matte.decision.face_ratio == 0

    async def test_concurrent_photos_get_their_own_domains(self, workers):
        engine, detector = (behind_a_queue(FakeEngine(s), 64) for s in (self.SPEC, self.FACES))
        segmenter = Segmenter(engine, workers, FaceRouter(detector, workers))
        greens = (0, 1, 2, 20, 50, 200) * 4
        mattes = await asyncio.gather(*(segmenter.segment(self.photo(g)) for g in greens))
        alone = [await segmenter.segment(self.photo(green)) for green in greens]
        for together, single in zip(mattes, alone, strict=True):
            assert together.decision == single.decision
            np.testing.assert_array_equal(together.alpha, single.alpha)

    async def test_given_domain_skips_the_detector(self, segmenter, detector):
        matte = await segmenter.segment(self.photo(200), domain=Domain.FAR_SHOT)
        assert matte.decision == DomainDecision(Domain.FAR_SHOT, None, detector_ran=False)
        assert matte.decision.face_ratio is None
        assert (matte.alpha == 64 ^ Domain.FAR_SHOT).all()
        assert detector.batch_sizes == []

    async def test_missing_detector_gives_the_domain_no_face(self, workers):
        segmenter = Segmenter(FakeEngine(self.SPEC), workers)
        matte = await segmenter.segment(self.photo(200))
        assert matte.decision == DomainDecision(Domain.NO_FACE, None, detector_ran=False)
        assert (matte.alpha == 64 ^ Domain.NO_FACE).all()

    async def test_model_without_domain_runs_no_detector(self, workers, detector):
        segmenter = Segmenter(FakeEngine(tiny_spec()), workers, FaceRouter(detector, workers))
        matte = await segmenter.segment(self.photo(200))
        assert (matte.decision, segmenter.face_router, detector.batch_sizes) == (None, None, [])
        with pytest.raises(ValueError, match="no domain"):
            await segmenter.segment(self.photo(200), domain=Domain.FAR_SHOT)

    @pytest.mark.parametrize(
        ("faces_hw", "domain", "enough"),
        [
            ((16, 16), None, (24, 32)),
            ((148, 148), None, (148, 148)),
            ((16, 148), None, (24, 148)),
            ((148, 148), Domain.FAR_SHOT, (24, 32)),
        ],
    )
    async def test_minimum_size_suffices_for_model_and_detector(
        self, workers, faces_hw, domain, enough
    ):
        detector = FakeEngine(tiny_spec("face_detector", size_hw=faces_hw))
        segmenter = Segmenter(FakeEngine(self.SPEC), workers, FaceRouter(detector, workers))
        task = RecordingTask(self.photo(0))
        await segmenter.run(task, domain=domain, context=NoContext())
        assert task.min_sizes == [enough]

    async def test_minimum_size_of_a_photo_allows_a_zoom(self, segmenter):
        task = RecordingTask(self.photo(0))
        await segmenter.run(task)
        assert task.min_sizes == [(ZOOM_FACTOR * 24, ZOOM_FACTOR * 32)]

    async def test_detector_failure_reaches_the_caller(self, segmenter, detector):
        detector.fail_next(EngineFailed("broken"))
        with pytest.raises(EngineFailed):
            await segmenter.segment(self.photo(200))

    async def test_cancelled_call_leaves_the_detector(self, segmenter, detector):
        detector.gate.clear()
        call = asyncio.create_task(segmenter.segment(self.photo(200)))
        await detector.wait_for_batches(1)
        call.cancel()
        await asyncio.wait([call])
        assert detector.running == 0


class TestZoom:
    """Photos of a person with a sixteenth of their sides; the fake model predicts her exactly."""

    SPEC = tiny_spec("md_trisenet", size_hw=(64, 64))
    FACES = tiny_spec("face_detector", size_hw=(16, 16))

    def photo(self, side: int = 80, *, level: int = 255, hw: tuple[int, int] = (1280, 1280)):
        """Returns a photo of a red square a little to the right of the middle."""
        frame = red(hw, level=0)
        frame.rgb[600 : 600 + side, 640 : 640 + side, 0] = level
        return frame

    @pytest.fixture
    def engine(self) -> RecordingEngine:
        return RecordingEngine(tiny_spec(size_hw=(64, 64)))

    @pytest.fixture
    def segmenter(self, workers, engine) -> Segmenter:
        return Segmenter(engine, workers)

    async def test_small_person_is_predicted_again_at_full_detail(self, segmenter, engine):
        matte = await segmenter.segment(self.photo())
        assert (matte.passes, engine.batch_sizes) == (2, [1, 1])
        truth = self.photo().rgb[..., 0]
        assert (np.abs(matte.alpha.astype(int) - truth) > 127).mean() < 0.0002
        person = engine.inputs["image"][0, ..., 0] > 127
        assert person.mean() == pytest.approx(1 / 4, abs=0.05)

    async def test_zoom_changes_nothing_outside_the_crop(self, workers, engine, segmenter):
        frame = self.photo()
        frame.rgb[..., 0] = np.maximum(frame.rgb[..., 0], 90)
        matte = await segmenter.segment(frame)
        single = await segmenter.segment(frame, context=NoContext())
        outside = np.ones(frame.photo_hw, bool)
        outside[560:720, 600:760] = False
        assert (matte.passes, single.passes) == (2, 1)
        np.testing.assert_array_equal(matte.alpha[outside], single.alpha[outside])

    @pytest.mark.parametrize(("side", "level"), [(1000, 255), (80, 100), (80, 0)])
    async def test_close_shot_or_noise_is_predicted_once(self, segmenter, engine, side, level):
        frame = red((1280, 1280), level=0)
        frame.rgb[100 : 100 + side, 100 : 100 + side, 0] = level
        matte = await segmenter.segment(frame)
        assert (matte.passes, engine.batch_sizes) == (1, [1])

    async def test_frame_of_a_stream_is_predicted_once(self, segmenter, engine):
        frame = self.photo()
        matte = await segmenter.segment(frame, context=NoContext())
        assert (matte.passes, engine.batch_sizes) == (1, [1])

    async def test_quality_describes_the_zoomed_mask(self, segmenter):
        matte = await segmenter.segment(self.photo())
        assert matte.quality.coverage == pytest.approx((80 / 1280) ** 2, rel=0.1)
        assert matte.quality.foreground

    async def test_zoom_of_a_reduced_decode_has_the_photos_size(self, segmenter):
        whole = await segmenter.segment(self.photo())
        frame = Frame(np.ascontiguousarray(self.photo().rgb[::2, ::2]), (1280, 1280))
        matte = await segmenter.segment(frame)
        assert matte.passes == 2
        assert matte.alpha.shape == (1280, 1280)
        assert np.abs(matte.alpha.astype(int) - whole.alpha).mean() < 0.1

    async def test_zoom_waits_in_the_queue_as_well(self, workers):
        engine = FakeEngine(tiny_spec(size_hw=(64, 64)))
        segmenter = Segmenter(behind_a_queue(engine), workers)
        once = await segmenter.segment(self.photo(), context=NoContext())
        assert once.timings.queue_s > 0
        engine.gate.clear()
        call = asyncio.create_task(segmenter.segment(self.photo()))
        await engine.wait_for_batches(2)
        engine.gate.set()
        twice = await call
        assert twice.passes == 2
        assert min(twice.timings.stages().values()) >= 0

    async def test_failure_of_the_second_pass_reaches_the_caller(self, workers):
        """The first mask alone would be a different result for the same photo."""
        engine = FakeEngine(tiny_spec(size_hw=(64, 64)))
        engine.gate.clear()
        call = asyncio.create_task(Segmenter(engine, workers).segment(self.photo()))
        await engine.wait_for_batches(1)
        engine.fail_next(EngineFailed("broken"))
        engine.gate.set()
        with pytest.raises(EngineFailed):
            await call

    async def test_crop_has_the_domain_of_its_rescaled_face(self, workers):
        """A tiny face of the photo is larger in the crop."""
        engine, detector = RecordingEngine(self.SPEC), FakeEngine(self.FACES)
        segmenter = Segmenter(engine, workers, FaceRouter(detector, workers))
        frame = self.photo()
        frame.rgb[..., 1] = 4
        matte = await segmenter.segment(frame)
        assert matte.decision is not None
        assert matte.decision.domain is Domain.WHOLE_BODY
        assert matte.passes == 2
        assert engine.inputs["domain"] == [Domain.HEAD_SHOT]
        assert detector.batch_sizes == [1]

    async def test_given_domain_holds_for_both_passes(self, workers):
        engine = RecordingEngine(self.SPEC)
        matte = await Segmenter(engine, workers).segment(self.photo(), domain=Domain.FAR_SHOT)
        assert matte.passes == 2
        assert engine.inputs["domain"] == [Domain.FAR_SHOT]

    async def test_face_without_a_person_is_predicted_again(self, workers):
        """The first mask is empty; the detector finds a face at the left."""
        engine, detector = RecordingEngine(self.SPEC), FakeEngine(self.FACES)
        segmenter = Segmenter(engine, workers, FaceRouter(detector, workers))
        frame = red((640, 1280), level=0)
        frame.rgb[..., 1] = 2
        matte = await segmenter.segment(frame)
        assert matte.passes == 2
        assert not matte.quality.foreground
