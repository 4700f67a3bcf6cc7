"""One stream of frames: what was asked for, and what is remembered between frames."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeVar

from silhouette_seg.engine.base import DEADLINE, PRIORITY, Priority
from silhouette_seg.errors import DeadlineExceeded
from silhouette_seg.pipeline.options import Output, RenderOptions
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.streaming.temporal_context import StreamMemory
from silhouette_seg.vision.codec.decode import Frame, ImageFormat
from silhouette_seg.vision.compose import blend
from silhouette_seg.vision.geometry import Size

T = TypeVar("T")

SMOOTHING = 0.5
"""The dial where nobody turns it."""


@asynccontextmanager
async def in_time(frame_s: float) -> AsyncIterator[None]:
    """For one frame, also where it is inferred elsewhere. Raises errors.DeadlineExceeded."""
    token = DEADLINE.set(asyncio.get_running_loop().time() + frame_s)
    try:
        async with asyncio.timeout(frame_s):
            yield
    except TimeoutError:
        raise DeadlineExceeded("The frame was not done in time.", limit=frame_s) from None
    finally:
        DEADLINE.reset(token)


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What is made of each frame. Replaced as a whole, between two frames, when it changes."""

    segmenter: Segmenter
    render: RenderOptions = field(default_factory=RenderOptions)
    format: ImageFormat | None = None
    """Of the pictures that go back, where the transport is not video; None: see `encoded_as`."""
    size: int | None = None
    """Pixels of the longer side that a result has at most; None: those of the frame."""
    smoothing: float = SMOOTHING
    picture: Frame | None = field(default=None, repr=False, compare=False)
    """The background, when `render.background` is a Picture."""

    @property
    def encoded_as(self) -> ImageFormat:
        """What was asked for; else JPEG for a composite and PNG for what must be exact."""
        if self.format is not None:
            return self.format
        return ImageFormat.JPEG if self.render.output is Output.COMPOSITE else ImageFormat.PNG


class StreamSession:
    """Frames go through one at a time, in order, ahead of photos. Shares nothing with others."""

    def __init__(self, options: StreamOptions, clock: Callable[[], float] = monotonic) -> None:
        self.id = secrets.token_urlsafe(12)
        self._clock = clock
        self._options = options
        self._memory = StreamMemory(options.smoothing, clock)
        self._backdrop: tuple[Frame, Frame] | None = None

    @property
    def options(self) -> StreamOptions:
        return self._options

    def configure(self, options: StreamOptions) -> None:
        """For the frames from the next one on. Another model begins without a memory."""
        if options.segmenter.spec != self._options.segmenter.spec:
            self._memory = StreamMemory(options.smoothing, self._clock)
        self._memory.smoothing = options.smoothing
        self._options = options

    def reset(self) -> None:
        """The next frame owes nothing to those before it."""
        self._memory.forget()

    def backdrop(self, picture: Frame | None, size_hw: Size) -> Frame | None:
        """The picture as large as the frames it goes behind; scaled once, not for each of them."""
        if picture is None:
            return None
        if self._backdrop is not None:
            of, scaled = self._backdrop
            if of is picture and scaled.photo_hw == size_hw:
                return scaled
        scaled = Frame(blend.resize_to_cover(picture.rgb, size_hw), size_hw)
        self._backdrop = picture, scaled
        return scaled

    async def run(self, load: Callable[[Size], Frame], finish: Callable[[Frame, Matte], T]) -> T:
        """As `Segmenter.run`, for the next frame of this stream."""
        token = PRIORITY.set(Priority.LIVE)
        try:
            return await self._options.segmenter.run(load, finish, context=self._memory)
        finally:
            PRIORITY.reset(token)
