"""Processes one frame of a stream that arrives, and is returned, as an image file."""

from silhouette_seg.pipeline.photo import RenderedImage, render_file
from silhouette_seg.streaming.session import StreamOptions, StreamSession
from silhouette_seg.vision.codec.decode import (
    Frame,
    ImageHeader,
    ImageLimits,
    check_limits,
    decode,
    read_header,
)
from silhouette_seg.vision.geometry import Size, resize

MAX_FRAME_PIXELS = 4096 * 2160
"""Maximum number of pixels of a frame. Every stream may hold one decoded frame."""


async def process_frame(
    session: StreamSession, data: bytes | memoryview, limits: ImageLimits
) -> RenderedImage:
    """Decodes, segments and renders the next frame of a stream with the session's options.

    Raises errors.ServiceError for an invalid frame and for a failure of the engine.
    """
    options = session.options

    def load(min_size: Size) -> Frame:
        header = read_header(data)
        check_limits(header, limits)
        return _decode(data, header, min_size, options)

    return await session.segment(
        load,
        lambda frame, found: render_file(
            options.render,
            options.image_format,
            frame,
            session.scaled_background(options.picture, frame.photo_hw),
            found,
        ),
    )


def scale_to_fit(size_hw: Size, max_side: int | None) -> Size:
    """Scales a size down until its longer side is at most `max_side`, in pixels; None keeps it."""
    if max_side is None or max(size_hw) <= max_side:
        return size_hw
    scale = max_side / max(size_hw)
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def _decode(
    data: bytes | memoryview, header: ImageHeader, at_least: Size, options: StreamOptions
) -> Frame:
    """Decodes a frame at the size of its result, or of the model's input if that is a mask."""
    result_hw = scale_to_fit(header.upright_hw, options.size)
    if options.render.only_mask:
        return Frame(decode(data, header, at_least=at_least).rgb, result_hw)
    return Frame(resize(decode(data, header, at_least=result_hw).rgb, result_hw), result_hw)
