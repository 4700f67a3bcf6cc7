"""Decode, segment and encode at the same time, with a few frames between them."""

import asyncio
from asyncio import Queue
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.pipeline.rendering import render_image
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.streaming.session import StreamOptions, StreamSession
from silhouette_seg.video.reader import Facts, Heard, Still, VideoReader
from silhouette_seg.video.writer import Writer
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.codec.header import ImageLimits
from silhouette_seg.vision.geometry import Size

AHEAD = 4
"""Frames that may wait between two stages: memory does not grow with the video."""

OnProgress = Callable[[float, float | None], None]
"""Is told the seconds of video that are done, and how many there are where that is known."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a frame became."""

    image: NDArray[np.uint8]
    pts: int


Read = Facts | Still | Heard | None
"""None is the end."""
Made = Facts | Drawn | Heard | None


async def segment_video(
    source: Path,
    writer: Writer,
    options: StreamOptions,
    limits: ImageLimits,
    on_progress: OnProgress,
) -> None:
    """Every frame of the video in order, each through the models with what the last one left.

    Cancelled or failed it leaves nothing of the result behind. Raises VideoError, OSError, and
    errors.ServiceError for what frames or engine are to blame for.
    """
    with ExitStack() as stack:
        stack.callback(writer.abandon)
        opened = stack.enter_context(ExitStack())
        # A thread may still be in a codec when its stage is cancelled: those close after it.
        reading, writing = ThreadPool(1), ThreadPool(1)
        stack.callback(reading.close)
        stack.callback(writing.close)
        reader = await reading.run_in_thread(VideoReader, source, limits, writer.copies)
        opened.callback(reader.close)
        read: Queue[Read] = Queue(AHEAD)
        made: Queue[Made] = Queue(AHEAD)
        try:
            async with asyncio.TaskGroup() as stages:
                stages.create_task(_read(iter(reader), reading, read))
                stages.create_task(_segment(read, options, made))
                stages.create_task(_write(made, writer, writing, on_progress))
        except BaseExceptionGroup as group:
            first = group.exceptions[0]
            raise first from first.__cause__
        await writing.run_in_thread(writer.finish)


async def _read(
    items: Iterator[Facts | Still | Heard], workers: ThreadPool, to: Queue[Read]
) -> None:
    item: Read = await workers.run_in_thread(next, items, None)
    while item is not None:
        await to.put(item)
        item = await workers.run_in_thread(next, items, None)
    await to.put(None)


async def _segment(read: Queue[Read], options: StreamOptions, to: Queue[Made]) -> None:
    """The memory of the session goes by the clock of the video: a slow machine is no gap."""
    now_s, tick_s = 0.0, 0.0
    session = StreamSession(options, lambda: now_s)
    while (item := await read.get()) is not None:
        if isinstance(item, Facts):
            tick_s = float(item.time_base)
        if not isinstance(item, Still):
            await to.put(item)
            continue
        now_s = item.pts * tick_s
        image = await session.segment(VideoFrameTask(session, item))
        await to.put(Drawn(image, item.pts))
    await to.put(None)


@dataclass(frozen=True, slots=True)
class VideoFrameTask:
    """The frame task of a video frame; its result is the image uint8 [h,w] or [h,w,3|4]."""

    session: StreamSession
    still: Still

    def decode(self, min_size: Size) -> Frame:
        """Converts the frame to RGB at its own size."""
        rgb = self.still.rgb()
        return Frame(rgb, (rgb.shape[0], rgb.shape[1]))

    def render(self, frame: Frame, matte: Matte) -> NDArray[np.uint8]:
        """Renders the image by the options of the session."""
        options = self.session.options
        background = self.session.scaled_background(options.background, frame.photo_hw)
        return render_image(options.render, frame, background, matte).image


async def _write(
    made: Queue[Made], writer: Writer, workers: ThreadPool, on_progress: OnProgress
) -> None:
    facts: Facts | None = None
    first: int | None = None
    early: list[Heard] = []
    while (item := await made.get()) is not None:
        match item:
            case Facts():
                facts = item
            case Heard() if first is None:
                early.append(item)
            case Heard():
                await workers.run_in_thread(writer.hear, item)
            case Drawn():
                assert facts is not None
                if first is None:
                    first = item.pts
                    await workers.run_in_thread(writer.start, facts, item.image)
                    for heard in early:
                        await workers.run_in_thread(writer.hear, heard)
                await workers.run_in_thread(writer.write, item.image, item.pts)
                on_progress(float((item.pts - first) * facts.time_base), facts.duration_s)
