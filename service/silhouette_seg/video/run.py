"""Decodes, segments and encodes a video concurrently, with bounded queues between the stages."""

import asyncio
from asyncio import Queue
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.pipeline.options import PersonSelection
from silhouette_seg.pipeline.rendering import NO_FACES, render_image
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.streaming.session import StreamOptions, StreamSession
from silhouette_seg.video.orientation import FrameShape
from silhouette_seg.video.reader import AudioChunk, DecodedFrame, VideoInfo, VideoReader
from silhouette_seg.video.writer import FrameWriter
from silhouette_seg.vision.codec.decode import Frame, flatten
from silhouette_seg.vision.codec.header import ImageLimits
from silhouette_seg.vision.geometry import Size

QUEUE_SIZE = 4
"""Maximum number of items that wait between two stages.

It bounds the memory for videos of any length.
"""

OnProgress = Callable[[float, float | None], None]
"""Function that receives the processed and the total seconds of video; None: total unknown."""
OnNotice = Callable[[str], None]
"""Function that receives a sentence for the user about a change that the result has."""


@dataclass(frozen=True, slots=True)
class RenderedFrame:
    """The rendered image of a frame, uint8 [h,w] or [h,w,3|4], and its timestamp in ticks."""

    image: NDArray[np.uint8]
    pts: int


SourceItem = VideoInfo | DecodedFrame | AudioChunk | None
"""Item in the queue from the reader to the segmenter. None marks the end of the video."""
ResultItem = VideoInfo | RenderedFrame | AudioChunk | None
"""Item in the queue from the segmenter to the writer. None marks the end of the video."""


async def segment_video(
    source: Path,
    writer: FrameWriter,
    options: StreamOptions,
    limits: ImageLimits,
    on_progress: OnProgress,
    on_notice: OnNotice,
) -> None:
    """Segments every frame of the video `source` in order and writes the results.

    Each frame uses the temporal state of the one before. `on_notice` is called if the result is in
    SDR but the source is not, if frames are fitted into the size of the first one, if one person is
    selected without faces, and for the notices of the writer. If the run is cancelled or fails, no
    partial result is left. Raises VideoError or OSError if the video cannot be read or written.
    Raises errors.ServiceError for a frame over the limits and for a failing engine.
    """
    with ExitStack() as stack:
        stack.callback(writer.discard)
        reader_stack = stack.enter_context(ExitStack())
        # A thread may still be in a codec when its stage is cancelled: codecs close after it.
        read_pool, write_pool = ThreadPool(1), ThreadPool(1)
        stack.callback(read_pool.close)
        stack.callback(write_pool.close)
        reader = await read_pool.run_in_thread(VideoReader, source, limits, writer.copied_codecs)
        reader_stack.callback(reader.close)
        sources: Queue[SourceItem] = Queue(QUEUE_SIZE)
        results: Queue[ResultItem] = Queue(QUEUE_SIZE)
        try:
            async with asyncio.TaskGroup() as stages:
                stages.create_task(_read(iter(reader), read_pool, sources))
                stages.create_task(_segment(sources, options, results, on_notice))
                stages.create_task(_write(results, writer, write_pool, on_progress))
        except BaseExceptionGroup as group:
            first = group.exceptions[0]
            raise first from first.__cause__
        await write_pool.run_in_thread(writer.finish)
        for notice in writer.notices:
            on_notice(notice)


async def _read(
    items: Iterator[VideoInfo | DecodedFrame | AudioChunk],
    pool: ThreadPool,
    sources: Queue[SourceItem],
) -> None:
    item: SourceItem = await pool.run_in_thread(next, items, None)
    while item is not None:
        await sources.put(item)
        item = await pool.run_in_thread(next, items, None)
    await sources.put(None)


async def _segment(
    sources: Queue[SourceItem],
    options: StreamOptions,
    results: Queue[ResultItem],
    on_notice: OnNotice,
) -> None:
    """Segments the frames from `sources`, and puts the results and all other items into `results`.

    The clock of the stream session is that of the video: slow processing is not a gap. The state of
    the session does not survive a change of the frames' shape.
    """
    now_s, tick_s = 0.0, 0.0
    session = StreamSession(options, lambda: now_s)
    selects = options.render.person is PersonSelection.DOMINANT
    if selects and options.segmenter.face_router(find_faces=False) is None:
        on_notice(NO_FACES)
    last: FrameShape | None = None
    is_fitted = False
    while (item := await sources.get()) is not None:
        if isinstance(item, VideoInfo):
            tick_s = float(item.time_base)
            if item.hdr_name is not None:
                on_notice(f"The video is in HDR ({item.hdr_name}); the result is in SDR.")
        if not isinstance(item, DecodedFrame):
            await results.put(item)
            continue
        now_s = item.pts * tick_s
        if item.own != last and last is not None:
            session.reset()
        if item.own != item.shape and not is_fitted:
            is_fitted = True
            height, width = item.shape.size_hw
            on_notice(f"The frame size changes; later frames are fitted into {width}x{height}.")
        last = item.own
        image = await session.segment(VideoFrameTask(session, item))
        await results.put(RenderedFrame(image, item.pts))
    await results.put(None)


@dataclass(frozen=True, slots=True)
class VideoFrameTask:
    """Frame task of a video frame: decodes it, and renders its image after the prediction.

    The result is the image, uint8 [h,w] or [h,w,3|4].
    """

    session: StreamSession
    source: DecodedFrame

    def decode(self, min_size: Size) -> Frame:
        """Converts the frame to RGB, uint8 [h,w,3], at its own size; transparency is kept."""
        rgb, opacity = self.source.rgb(), self.source.opacity()
        shown = rgb if opacity is None else flatten(rgb, opacity)
        return Frame(shown, (rgb.shape[0], rgb.shape[1]), opacity=opacity)

    def render(self, frame: Frame, matte: Matte) -> NDArray[np.uint8]:
        """Renders the image of a frame, uint8 [h,w] or [h,w,3|4], by the options of the session."""
        options = self.session.options
        background = self.session.scaled_background(options.background, frame.photo_hw)
        return render_image(options.render, frame, background, matte).image


async def _write(
    results: Queue[ResultItem], writer: FrameWriter, pool: ThreadPool, on_progress: OnProgress
) -> None:
    """Writes items from `results` in order and reports the progress after each frame.

    Audio before the first frame is held back until the first image has started the writer.
    """
    info: VideoInfo | None = None
    first_pts: int | None = None
    early_audio: list[AudioChunk] = []
    while (item := await results.get()) is not None:
        match item:
            case VideoInfo():
                info = item
            case AudioChunk() if first_pts is None:
                early_audio.append(item)
            case AudioChunk():
                await pool.run_in_thread(writer.write_audio, item)
            case RenderedFrame():
                assert info is not None
                if first_pts is None:
                    first_pts = item.pts
                    await pool.run_in_thread(writer.start, info, item.image)
                    for chunk in early_audio:
                        await pool.run_in_thread(writer.write_audio, chunk)
                await pool.run_in_thread(writer.write_image, item.image, item.pts)
                on_progress(float((item.pts - first_pts) * info.time_base), info.duration_s)
