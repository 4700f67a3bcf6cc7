"""Processes one frame of a stream that arrives, and is returned, as an image file."""

from dataclasses import dataclass

from silhouette_seg.pipeline.photo import RenderedImage, render_file
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.streaming.session import StreamOptions, StreamSession
from silhouette_seg.vision.codec.decode import (
    Frame,
    ImageLimits,
    check_limits,
    decode,
    read_header,
)
from silhouette_seg.vision.geometry import Size, resize

MAX_FRAME_PIXELS = 4096 * 2160
"""Maximum number of pixels of a frame. Every stream may hold one decoded frame."""


@dataclass(frozen=True, slots=True)
class StreamFrameTask:
    """The frame task of an encoded frame: reads the header, checks the limits, decodes, renders."""

    session: StreamSession
    options: StreamOptions
    data: bytes | memoryview
    limits: ImageLimits

    def decode(self, min_size: Size) -> Frame:
        """Decodes at the result's size; for mask output at the size that the model needs.

        Raises the errors of `read_header`, `check_limits` and `decode`.
        """
        header = read_header(self.data)
        check_limits(header, self.limits)
        result_hw = scale_to_fit(header.upright_hw, self.options.size)
        if self.options.render.only_mask:
            return Frame(decode(self.data, header, min_size=min_size).rgb, result_hw)
        frame = decode(self.data, header, min_size=result_hw)
        return Frame(resize(frame.rgb, result_hw), result_hw)

    def render(self, frame: Frame, matte: Matte) -> RenderedImage:
        """Renders and encodes as `render_file`."""
        options = self.options
        background = self.session.scaled_background(options.background, frame.photo_hw)
        return render_file(options.render, options.image_format, frame, background, matte)


async def process_frame(
    session: StreamSession, data: bytes | memoryview, limits: ImageLimits
) -> RenderedImage:
    """Decodes, segments and renders the next frame of a stream with the session's options.

    Raises errors.ServiceError for an invalid frame and for a failure of the engine.
    """
    return await session.segment(StreamFrameTask(session, session.options, data, limits))


def scale_to_fit(size_hw: Size, max_side: int | None) -> Size:
    """Scales a size down until its longer side is at most `max_side`, in pixels; None keeps it."""
    if max_side is None or max(size_hw) <= max_side:
        return size_hw
    scale = max_side / max(size_hw)
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))
