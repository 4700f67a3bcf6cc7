"""The session of one video stream: its options, and the state carried between its frames."""

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
from silhouette_seg.pipeline.segmenter import FrameTask, Segmenter
from silhouette_seg.streaming.temporal_context import StreamContext
from silhouette_seg.vision.codec.decode import Frame, ImageFormat
from silhouette_seg.vision.compose import blend
from silhouette_seg.vision.geometry import Size

T = TypeVar("T")

FRAME_OUTCOMES = ("result", "skipped", "error")
"""Possible outcomes of a video frame.

They are metric labels and log fields, and therefore a contract.
"""
DEFAULT_SMOOTHING = 0.5
"""Default strength of the temporal smoothing of masks, 0..1."""


@asynccontextmanager
async def frame_deadline(timeout_s: float) -> AsyncIterator[None]:
    """Context manager that cancels its block, the work on a frame, after `timeout_s` seconds.

    An inference on a remote server is cancelled as well. Raises errors.DeadlineExceeded then.
    """
    token = DEADLINE.set(asyncio.get_running_loop().time() + timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise DeadlineExceeded("The frame was not processed in time.", limit=timeout_s) from None
    finally:
        DEADLINE.reset(token)


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Model, rendering, size and smoothing of a video stream.

    The object is immutable: a change replaces it between two frames.
    """

    segmenter: Segmenter
    render: RenderOptions = field(default_factory=RenderOptions)
    format: ImageFormat | None = None
    """Requested format of results that are image files; None selects a default."""
    size: int | None = None
    """Maximum length of a result's longer side in pixels; None keeps the size of the frame."""
    smoothing: float = DEFAULT_SMOOTHING
    """Strength of the temporal smoothing of masks, 0..1; 0 disables it."""
    background: Frame | None = field(default=None, repr=False, compare=False)
    """Decoded image behind the person if `render.background` is a BackgroundImage, else None."""

    @property
    def image_format(self) -> ImageFormat:
        """Format of results that are image files: the requested one, or a default.

        The default is JPEG for a composite, and lossless PNG for a mask or cut-out.
        """
        if self.format is not None:
            return self.format
        return ImageFormat.JPEG if self.render.output is Output.COMPOSITE else ImageFormat.PNG


class StreamSession:
    """Segments the frames of one video stream, one at a time, in order and ahead of photos.

    It holds the options and the temporal state of the stream. Sessions share no state.
    """

    def __init__(self, options: StreamOptions, clock: Callable[[], float] = monotonic) -> None:
        """Creates a session with a random id; `clock` returns the current time in seconds."""
        self.id = secrets.token_urlsafe(12)
        self._clock = clock
        self._options = options
        self._context = StreamContext(options.smoothing, clock)
        self._background: tuple[Frame, Frame] | None = None
        """The last background image at its own size, and scaled to the size of the frames."""

    @property
    def options(self) -> StreamOptions:
        return self._options

    def configure(self, options: StreamOptions) -> None:
        """Applies `options` from the next frame on.

        If the model changes, the previous frames are forgotten.
        """
        if options.segmenter.spec != self._options.segmenter.spec:
            self._context = StreamContext(options.smoothing, self._clock)
        self._context.smoothing = options.smoothing
        self._options = options

    def reset(self) -> None:
        """Forgets the previous frames, so that the next mask does not depend on them."""
        self._context.reset()

    def scaled_background(self, background: Frame | None, size_hw: Size) -> Frame | None:
        """Returns a background image scaled to cover frames of `size_hw`; None stays None.

        `size_hw` is (height, width) in pixels. The last result is cached.
        """
        if background is None:
            return None
        if self._background is not None:
            original, scaled = self._background
            if original is background and scaled.photo_hw == size_hw:
                return scaled
        scaled = Frame(blend.resize_to_cover(background.rgb, size_hw), size_hw)
        self._background = background, scaled
        return scaled

    async def segment(self, task: FrameTask[T]) -> T:
        """Segments the next frame of this stream, and returns the result of its task.

        Raises the errors of `Segmenter.run`.
        """
        token = PRIORITY.set(Priority.LIVE)
        try:
            return await self._options.segmenter.run(task, context=self._context)
        finally:
            PRIORITY.reset(token)
