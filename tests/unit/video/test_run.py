"""The three stages of a video over a fake engine: order, bounds, and how it ends."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import EngineFailed
from silhouette_seg.pipeline.options import RenderOptions
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.streaming.session import StreamOptions
from silhouette_seg.video import VideoError, segment_video, writer_for
from silhouette_seg.video.run import AHEAD, _read
from silhouette_seg.vision.codec.header import ImageFormat, ImageLimits
from tests.support.tiny_model import tiny_spec
from tests.support.videos import make_video, read_video, uneven_times

LIMITS = ImageLimits()
PATIENCE_S = 60


class Kept:
    """A writer that keeps what it is told; it writes while `gate` is set."""

    copies = None

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.widths: list[int] = []
        self.times: list[int] = []
        self.ends: list[str] = []

    def start(self, facts, image):
        pass

    def write(self, image, pts):
        assert self.gate.wait(PATIENCE_S)
        self.widths.append(int((image[image.shape[0] // 2] > 127).sum()))
        self.times.append(pts)

    def hear(self, heard):
        raise AssertionError("it asked for no sound")

    def finish(self):
        self.ends.append("finished")

    def abandon(self):
        self.ends.append("abandoned")


@pytest.fixture
def workers() -> Iterator[ThreadPool]:
    pool = ThreadPool(2)
    yield pool
    pool.close()


def options(workers, engine=None, **look) -> StreamOptions:
    # As wide as the video: what the model gives is red itself, column by column.
    engine = engine or FakeEngine(tiny_spec(size_hw=(48, 64)))
    return StreamOptions(Segmenter(engine, workers), RenderOptions(**look), smoothing=0.0)


async def test_frames_go_through_in_order_with_their_times(tmp_path, workers):
    make_video(tmp_path / "a.mp4", uneven_times(30))
    kept, told = Kept(), []
    async with asyncio.timeout(PATIENCE_S):
        await segment_video(
            tmp_path / "a.mp4", kept, options(workers), LIMITS, lambda *at: told.append(at)
        )
    assert kept.times == uneven_times(30)
    assert kept.widths == pytest.approx([8 + number for number in range(30)], abs=2)
    assert kept.ends == ["finished", "abandoned"]
    seconds = [done for done, _ in told]
    assert seconds == sorted(seconds)
    assert seconds[-1] == pytest.approx(uneven_times(30)[-1] / 90_000)
    assert told[0][1] == pytest.approx(seconds[-1], abs=0.1)


async def test_frames_do_not_pile_up_before_a_slow_writer(tmp_path, workers):
    """However long the video: one is in the writer, AHEAD wait for it and one for room."""
    make_video(tmp_path / "a.mp4", uneven_times(60))
    kept, engine = Kept(), FakeEngine(tiny_spec(size_hw=(48, 64)))
    kept.gate.clear()
    running = asyncio.create_task(
        segment_video(tmp_path / "a.mp4", kept, options(workers, engine), LIMITS, lambda *_: None)
    )
    async with asyncio.timeout(PATIENCE_S):
        await engine.wait_for_batches(AHEAD + 2)
        # A further frame would go through these threads, and before what is asked of them now.
        for _ in range(50):
            await workers.run_in_thread(lambda: None)
        assert len(engine.batch_sizes) == AHEAD + 2
        kept.gate.set()
        await running
    assert len(kept.times) == 60


async def test_frames_do_not_pile_up_before_a_slow_model():
    taken: list[int] = []

    def frames():
        for number in range(1000):
            taken.append(number)
            yield number

    queue: asyncio.Queue = asyncio.Queue(AHEAD)
    pool = ThreadPool(1)
    reading = asyncio.create_task(_read(frames(), pool, queue))
    async with asyncio.timeout(PATIENCE_S):
        while len(taken) <= AHEAD:  # noqa: ASYNC110  # there is nothing to be told by
            await asyncio.sleep(0.001)
        # The pool has one thread: were another frame asked for, it would be before these.
        for _ in range(20):
            await pool.run_in_thread(lambda: None)
    assert len(taken) == AHEAD + 1
    assert queue.full()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    pool.close()


@pytest.mark.parametrize("fault", ["engine", "writer"])
async def test_failure_leaves_nothing_and_tells_why(tmp_path, workers, fault):
    make_video(tmp_path / "a.mp4")
    engine = FakeEngine(tiny_spec(size_hw=(48, 64)))
    writer = writer_for(tmp_path / "out.mp4", ImageFormat.PNG)
    if fault == "engine":
        engine.fail_next(EngineFailed("It broke."))
        wanted: type[Exception] = EngineFailed
    else:
        wanted = VideoError
        writer.write = _full  # type: ignore[method-assign]
    with pytest.raises(wanted):
        async with asyncio.timeout(PATIENCE_S):
            await segment_video(
                tmp_path / "a.mp4", writer, options(workers, engine), LIMITS, lambda *_: None
            )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


def _full(image, pts):
    raise VideoError("The disk is full.")


@pytest.mark.parametrize("result", ["out.mp4", "out.webm", "frames"])
async def test_cancelled_it_leaves_nothing(tmp_path, workers, result):
    make_video(tmp_path / "a.mp4", uneven_times(56))
    writer = writer_for(tmp_path / result, ImageFormat.PNG)
    begun = asyncio.Event()
    task = asyncio.create_task(
        segment_video(tmp_path / "a.mp4", writer, options(workers), LIMITS, lambda *_: begun.set())
    )
    async with asyncio.timeout(PATIENCE_S):
        await begun.wait()
        assert len(list(tmp_path.iterdir())) == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


async def test_result_replaces_an_older_one_only_when_it_is_whole(tmp_path, workers):
    make_video(tmp_path / "a.mp4")
    (tmp_path / "out.mp4").write_bytes(b"older")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    for source in ("broken.mp4", "a.mp4"):
        writer = writer_for(tmp_path / "out.mp4", ImageFormat.PNG)
        attempt = segment_video(
            tmp_path / source, writer, options(workers), LIMITS, lambda *_: None
        )
        if source == "a.mp4":
            await attempt
        else:
            with pytest.raises(VideoError):
                await attempt
            assert (tmp_path / "out.mp4").read_bytes() == b"older"
    assert len(read_video(tmp_path / "out.mp4").frames) == 12


def test_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(VideoError, match="empty folder"):
        writer_for(tmp_path, ImageFormat.PNG)


async def test_the_memory_goes_by_the_clock_of_the_video(tmp_path, workers):
    """Frames two seconds apart owe nothing to each other, however soon the second one comes."""
    make_video(tmp_path / "a.mp4", [0, 180_000, 183_000])
    remembered: list[bool] = []

    class Noting(FakeEngine):
        async def infer(self, inputs):
            remembered.append(bool(inputs["prior"].any()))
            return await super().infer(inputs)

    engine = Noting(tiny_spec("rcrnet", size_hw=(48, 64)))
    await segment_video(
        tmp_path / "a.mp4", Kept(), options(workers, engine), LIMITS, lambda *_: None
    )
    assert remembered == [False, False, True]
