"""The state of a session: priors, resets, options, priority, and the background image."""

import asyncio
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from silhouette_seg.engine.base import PRIORITY, Priority
from silhouette_seg.engine.batcher import Batcher
from silhouette_seg.errors import EngineFailed
from silhouette_seg.pipeline.options import BackgroundImage, Output, RenderOptions
from silhouette_seg.pipeline.segmenter import MatteTask, Segmenter
from silhouette_seg.streaming.image_frame import process_frame
from silhouette_seg.streaming.session import StreamOptions, StreamSession
from silhouette_seg.streaming.smoothing import damped_prior
from silhouette_seg.streaming.temporal_context import MAX_FRAME_GAP_S
from silhouette_seg.vision.codec.decode import Frame, ImageFormat, ImageLimits
from tests.support.fakes import RecordingEngine
from tests.support.images import make_png
from tests.support.tiny_model import tiny_spec

SIZE_HW = (24, 32)
RED, BLUE = (200, 30, 20), (10, 20, 220)


@pytest.fixture
def engine():
    """A model with a prior; its alpha is the red channel xor the prior."""
    return RecordingEngine(tiny_spec("rcrnet", size_hw=SIZE_HW))


@pytest.fixture
def options(engine, workers):
    return StreamOptions(Segmenter(engine, workers), smoothing=0.0)


@pytest.fixture
def session(options):
    return StreamSession(options, clock=lambda: 0.0)


async def segment_level(session: StreamSession, red: int, size_hw=SIZE_HW) -> int:
    """Segments a uniform frame and returns the level of its uniform mask."""
    rgb = np.full((*size_hw, 3), (red, 90, 90), np.uint8)
    alpha = (await session.segment(MatteTask(Frame(rgb, size_hw)))).alpha
    assert alpha.shape == size_hw
    assert alpha.min() == alpha.max()
    return int(alpha[0, 0])


def priors(engine: RecordingEngine) -> list[int]:
    return [int(row[0, 0]) for inputs in engine.inputs for row in inputs["prior"]]


async def test_prior_is_an_eighth_of_previous_mask(session, engine):
    shown = [await segment_level(session, red) for red in (96, 68, 112)]
    assert shown == [96, 68 ^ 12, 112 ^ 9]
    assert priors(engine) == [0, 12, 9]


async def test_prior_has_model_size_and_all_pixels(session, engine):
    rgb = np.zeros((*SIZE_HW, 3), np.uint8)
    rgb[:, :, 0] = np.arange(SIZE_HW[1])
    for _ in range(2):
        await session.segment(MatteTask(Frame(rgb, SIZE_HW)))
    prior = engine.inputs[1]["prior"]
    assert prior.dtype == np.uint8
    assert (prior == damped_prior(rgb[:, :, 0])).all()


async def test_reset_clears_prior(session, engine):
    await segment_level(session, 104)
    session.reset()
    await segment_level(session, 104)
    await segment_level(session, 104)
    assert priors(engine) == [0, 0, 13]


async def test_change_of_frame_size_clears_prior(session, engine):
    await segment_level(session, 104)
    await segment_level(session, 104, (48, 64))
    await segment_level(session, 104, (48, 64))
    assert priors(engine) == [0, 0, 13]


async def test_long_gap_clears_prior(options, engine):
    now = 0.0
    session = StreamSession(options, clock=lambda: now)
    await segment_level(session, 104)
    now = MAX_FRAME_GAP_S + 1
    await segment_level(session, 104)
    assert priors(engine) == [0, 0]


async def test_failed_frame_does_not_become_prior(session, engine):
    await segment_level(session, 104)
    engine.fail_next(EngineFailed("broken"))
    with pytest.raises(EngineFailed):
        await segment_level(session, 107)
    await segment_level(session, 101)
    assert priors(engine) == [0, 13, 13]


async def test_another_model_starts_without_prior(session, options, workers, engine):
    await segment_level(session, 104)
    other = RecordingEngine(tiny_spec("connectnet", size_hw=SIZE_HW))
    session.configure(replace(options, segmenter=Segmenter(other, workers)))
    assert await segment_level(session, 101) == 101
    session.configure(options)
    await segment_level(session, 102)
    assert priors(engine) == [0, 0]


async def test_change_of_rendering_keeps_prior(session, options, engine):
    await segment_level(session, 104)
    changed = replace(
        options,
        segmenter=options.segmenter.with_pool(options.segmenter._workers),
        render=RenderOptions(Output.COMPOSITE),
        smoothing=0.3,
    )
    session.configure(changed)
    await segment_level(session, 101)
    assert priors(engine) == [0, 13]


async def test_smoothed_mask_lies_between_both_masks(options):
    session = StreamSession(replace(options, smoothing=0.5), clock=lambda: 0.0)
    assert await segment_level(session, 104) == 104
    # The left side is the mask from the model.
    assert 109 ^ 13 < await segment_level(session, 109) < 104


async def test_frames_have_priority_over_photos(session, engine):
    await segment_level(session, 100)
    assert engine.priorities == [Priority.LIVE]
    assert PRIORITY.get() is Priority.PHOTO


async def test_sessions_share_batches_but_no_state(engine, workers):
    batcher = Batcher(engine, max_batch=8, max_queue=8, queue_timeout_s=60, concurrency=1)
    options = StreamOptions(Segmenter(batcher, workers), smoothing=0.0)
    sessions = [StreamSession(options, clock=lambda: 0.0) for _ in range(3)]
    for number, session in enumerate(sessions):
        await segment_level(session, 104 + 8 * number)
    engine.gate.clear()
    # Occupies the only slot, so that the frames of all three sessions wait together.
    first = asyncio.create_task(segment_level(StreamSession(options), 9))
    await engine.wait_for_batches(4)
    shown = [asyncio.create_task(segment_level(session, 64)) for session in sessions]
    async with asyncio.timeout(20):
        while batcher.queued < 3:  # noqa: ASYNC110  # the queue has no event
            await asyncio.sleep(0.001)
    engine.gate.set()
    await first
    assert [await task for task in shown] == [64 ^ 13, 64 ^ 14, 64 ^ 15]
    assert engine.batch_sizes[-1] == 3
    assert sorted(priors(engine)[-3:]) == [13, 14, 15]


@pytest.mark.parametrize(
    ("render", "requested", "encoded"),
    [
        (RenderOptions(), None, ImageFormat.PNG),
        (RenderOptions(Output.CUTOUT), None, ImageFormat.PNG),
        (RenderOptions(Output.COMPOSITE), None, ImageFormat.JPEG),
        (RenderOptions(Output.COMPOSITE), ImageFormat.WEBP, ImageFormat.WEBP),
        (RenderOptions(), ImageFormat.JPEG, ImageFormat.JPEG),
    ],
)
def test_image_format_follows_request_or_output(options, render, requested, encoded):
    assert replace(options, render=render, format=requested).image_format is encoded


def test_background_is_scaled_once_per_image_and_size(session):
    red, blue = (Frame(np.full((90, 160, 3), rgb, np.uint8), (90, 160)) for rgb in (RED, BLUE))
    first = session.scaled_background(red, (24, 32))
    assert session.scaled_background(red, (24, 32)) is first
    assert first.rgb.shape == (24, 32, 3)
    assert (first.rgb == RED).all()
    assert (session.scaled_background(blue, (24, 32)).rgb == BLUE).all()
    assert session.scaled_background(blue, (10, 10)).rgb.shape == (10, 10, 3)
    assert (session.scaled_background(red, (24, 32)).rgb == RED).all()
    assert session.scaled_background(None, (24, 32)) is None


@pytest.mark.parametrize("background_hw", [SIZE_HW, (48, 64)])
async def test_frames_do_not_change_background_image(options, background_hw):
    """The person of one frame must not appear in the next."""
    background = Frame(np.full((*background_hw, 3), BLUE, np.uint8), background_hw)
    render = RenderOptions(Output.COMPOSITE, BackgroundImage())
    session = StreamSession(
        replace(options, render=render, format=ImageFormat.PNG, background=background)
    )
    limits = ImageLimits()
    for red in (255, 0):
        session.reset()
        frame = np.full((*SIZE_HW, 3), (red, 90, 90), np.uint8)
        shown = await process_frame(session, make_png(frame), limits)
    assert shown.quality.coverage == 0
    assert (np.asarray(Image.open(io.BytesIO(shown.body))) == BLUE).all()
    assert (background.rgb == BLUE).all()


def test_session_ids_are_unique_and_long(options):
    ids = {StreamSession(options).id for _ in range(100)}
    assert len(ids) == 100
    assert min(map(len, ids)) >= 16
