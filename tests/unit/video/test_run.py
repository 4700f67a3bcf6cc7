"""Tests of video segmentation over a fake engine: order, bounded queues and failures."""

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import EngineFailed
from silhouette_seg.pipeline.options import Colour, Output, PersonSelection, RenderOptions
from silhouette_seg.pipeline.rendering import NO_FACES
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.streaming.session import StreamOptions
from silhouette_seg.video import VideoError, make_writer, segment_video
from silhouette_seg.video.run import QUEUE_SIZE, _read
from silhouette_seg.vision.codec.header import ImageFormat, ImageLimits
from tests.support.fakes import RecordingEngine
from tests.support.tiny_model import tiny_spec
from tests.support.videos import (
    SIZE_HW,
    make_transparent_video,
    make_turned_video,
    make_video,
    read_video,
    uneven_times,
)

LIMITS = ImageLimits()
TIMEOUT_S = 60


class RecordingWriter:
    """A writer that records its calls. It blocks in `write_image` until `gate` is set."""

    copied_codecs = None

    def __init__(self) -> None:
        self.notices = ["The writer has a notice."]
        self.gate = threading.Event()
        self.gate.set()
        self.widths: list[int] = []
        self.times: list[int] = []
        self.ends: list[str] = []

    def start(self, info, image):
        pass

    def write_image(self, image, pts):
        assert self.gate.wait(TIMEOUT_S)
        self.widths.append(int((image[image.shape[0] // 2] > 127).sum()))
        self.times.append(pts)

    def write_audio(self, chunk):
        raise AssertionError("this writer takes no audio")

    def finish(self):
        self.ends.append("finished")

    def discard(self):
        self.ends.append("discarded")


@pytest.fixture
def workers() -> Iterator[ThreadPool]:
    pool = ThreadPool(2)
    yield pool
    pool.close()


def options(workers, engine=None, **render) -> StreamOptions:
    # The model is as wide as the video, so its mask is the red channel column by column.
    engine = engine or FakeEngine(tiny_spec(size_hw=(48, 64)))
    return StreamOptions(Segmenter(engine, workers), RenderOptions(**render), smoothing=0.0)


async def run(source, writer, options, on_progress=lambda *_: None) -> list[str]:
    """Segments a video and returns the notices for the user."""
    notices: list[str] = []
    await segment_video(source, writer, options, LIMITS, on_progress, notices.append)
    return notices


async def test_frames_keep_their_order_and_times(tmp_path, workers):
    make_video(tmp_path / "a.mp4", uneven_times(30))
    writer, progress = RecordingWriter(), []
    async with asyncio.timeout(TIMEOUT_S):
        await run(tmp_path / "a.mp4", writer, options(workers), lambda *at: progress.append(at))
    assert writer.times == uneven_times(30)
    assert writer.widths == pytest.approx([8 + number for number in range(30)], abs=2)
    assert writer.ends == ["finished", "discarded"]
    seconds = [done for done, _ in progress]
    assert seconds == sorted(seconds)
    assert seconds[-1] == pytest.approx(uneven_times(30)[-1] / 90_000)
    assert progress[0][1] == pytest.approx(seconds[-1], abs=0.1)


async def test_queue_before_slow_writer_stays_bounded(tmp_path, workers):
    """One frame is in the writer, QUEUE_SIZE frames wait in the queue, one waits for space."""
    make_video(tmp_path / "a.mp4", uneven_times(60))
    writer, engine = RecordingWriter(), FakeEngine(tiny_spec(size_hw=(48, 64)))
    writer.gate.clear()
    running = asyncio.create_task(run(tmp_path / "a.mp4", writer, options(workers, engine)))
    async with asyncio.timeout(TIMEOUT_S):
        await engine.wait_for_batches(QUEUE_SIZE + 2)
        # Another frame would run in these threads before the calls submitted here.
        for _ in range(50):
            await workers.run_in_thread(lambda: None)
        assert len(engine.batch_sizes) == QUEUE_SIZE + 2
        writer.gate.set()
        await running
    assert len(writer.times) == 60


async def test_queue_before_slow_model_stays_bounded():
    numbers_read: list[int] = []

    def frames():
        for number in range(1000):
            numbers_read.append(number)
            yield number

    queue: asyncio.Queue = asyncio.Queue(QUEUE_SIZE)
    pool = ThreadPool(1)
    reading = asyncio.create_task(_read(frames(), pool, queue))
    async with asyncio.timeout(TIMEOUT_S):
        while len(numbers_read) <= QUEUE_SIZE:  # noqa: ASYNC110  # the generator cannot signal
            await asyncio.sleep(0.001)
        # The pool has one thread: a request for another frame would run before these calls.
        for _ in range(20):
            await pool.run_in_thread(lambda: None)
    assert len(numbers_read) == QUEUE_SIZE + 1
    assert queue.full()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    pool.close()


@pytest.mark.parametrize("fault", ["engine", "writer"])
async def test_failed_run_raises_and_leaves_no_file(tmp_path, workers, fault):
    make_video(tmp_path / "a.mp4")
    engine = FakeEngine(tiny_spec(size_hw=(48, 64)))
    writer = make_writer(tmp_path / "out.mp4", ImageFormat.PNG)
    if fault == "engine":
        engine.fail_next(EngineFailed("It broke."))
        expected: type[Exception] = EngineFailed
    else:
        expected = VideoError
        writer.write_image = _full  # type: ignore[method-assign]
    with pytest.raises(expected):
        async with asyncio.timeout(TIMEOUT_S):
            await run(tmp_path / "a.mp4", writer, options(workers, engine))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


def _full(image, pts):
    raise VideoError("The disk is full.")


@pytest.mark.parametrize("result", ["out.mp4", "out.webm", "frames"])
async def test_cancelled_run_leaves_no_file(tmp_path, workers, result):
    make_video(tmp_path / "a.mp4", uneven_times(56))
    writer = make_writer(tmp_path / result, ImageFormat.PNG)
    started = asyncio.Event()
    task = asyncio.create_task(
        run(tmp_path / "a.mp4", writer, options(workers), lambda *_: started.set())
    )
    async with asyncio.timeout(TIMEOUT_S):
        await started.wait()
        assert len(list(tmp_path.iterdir())) == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


async def test_result_replaces_older_file_only_when_complete(tmp_path, workers):
    make_video(tmp_path / "a.mp4")
    (tmp_path / "out.mp4").write_bytes(b"older")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    for source in ("broken.mp4", "a.mp4"):
        writer = make_writer(tmp_path / "out.mp4", ImageFormat.PNG)
        attempt = run(tmp_path / source, writer, options(workers))
        if source == "a.mp4":
            await attempt
        else:
            with pytest.raises(VideoError):
                await attempt
            assert (tmp_path / "out.mp4").read_bytes() == b"older"
    assert len(read_video(tmp_path / "out.mp4").frames) == 12


def test_writer_for_folder_that_is_not_empty_raises(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(VideoError, match="empty folder"):
        make_writer(tmp_path, ImageFormat.PNG)


async def test_temporal_context_follows_clock_of_video(tmp_path, workers):
    """Frames two seconds apart in the video share no prior, even if processed back to back."""
    make_video(tmp_path / "a.mp4", [0, 180_000, 183_000])
    engine = RecordingEngine(tiny_spec("rcrnet", size_hw=(48, 64)))
    await run(tmp_path / "a.mp4", RecordingWriter(), options(workers, engine))
    assert [inputs["prior"].any() for inputs in engine.inputs] == [False, False, True]


async def test_turned_frames_share_no_prior_and_are_reported_once(tmp_path, workers):
    make_turned_video(tmp_path / "a.mkv", [(48, 64), (64, 48), (48, 64)], each=2)
    engine = RecordingEngine(tiny_spec("rcrnet", size_hw=(48, 64)))
    notices = await run(tmp_path / "a.mkv", RecordingWriter(), options(workers, engine))
    has_prior = [inputs["prior"].any() for inputs in engine.inputs]
    assert has_prior == [False, True, False, True, False, True]
    assert notices == [
        "The frame size changes; later frames are fitted into 64x48.",
        "The writer has a notice.",
    ]


async def test_dominant_person_of_a_video_without_faces_is_reported(tmp_path, workers):
    make_video(tmp_path / "a.mp4", [0, 3000])
    chosen = options(workers, person=PersonSelection.DOMINANT)
    notices = await run(tmp_path / "a.mp4", RecordingWriter(), chosen)
    assert notices == [NO_FACES, "The writer has a notice."]


class KeepingWriter(RecordingWriter):
    """A writer that keeps the images."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[NDArray[np.uint8]] = []

    def write_image(self, image, pts):
        self.images.append(image)


@pytest.mark.parametrize("name", ["a.mov", "a.webm"])
@pytest.mark.parametrize("output", [Output.CUTOUT, Output.MASK])
async def test_result_is_nowhere_above_the_opacity_of_the_video(tmp_path, workers, name, output):
    """All of the video is red, and so a person, but its right half is clear."""
    image = np.full((*SIZE_HW, 4), (255, 0, 0, 255), np.uint8)
    image[:, 32:, 3] = 0
    make_transparent_video(tmp_path / name, [image] * 3)
    writer = KeepingWriter()
    await run(tmp_path / name, writer, options(workers, output=output))
    assert len(writer.images) == 3
    for seen in writer.images:
        alpha = seen[..., 3] if output is Output.CUTOUT else seen
        assert alpha[:, :31].min() > 250
        assert not alpha[:, 33:].any()


@pytest.mark.parametrize("name", ["a.mov", "a.webm"])
async def test_background_fills_the_clear_part_of_the_video(tmp_path, workers, name):
    image = np.full((*SIZE_HW, 4), (255, 0, 0, 255), np.uint8)
    image[:, 32:, 3] = 0
    make_transparent_video(tmp_path / name, [image] * 2)
    writer = KeepingWriter()
    blue = options(workers, output=Output.COMPOSITE, background=Colour((0, 0, 255)))
    await run(tmp_path / name, writer, blue)
    for seen in writer.images:
        assert seen[24, 8].tolist() == pytest.approx([255, 0, 0], abs=8)
        assert seen[24, 56].tolist() == [0, 0, 255]
