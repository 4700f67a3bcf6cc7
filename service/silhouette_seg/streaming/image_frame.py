"""One frame of a stream that comes, and goes back, as an image file."""

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

FRAME_PIXELS = 4096 * 2160
"""The most that one frame has: every stream may hold a decoded one."""


async def run_frame(
    session: StreamSession, data: bytes | memoryview, limits: ImageLimits
) -> RenderedImage:
    """The frame that is next in its stream, by the options that hold for it.

    Raises errors.ServiceError for whatever the frame or the engine is to blame for.
    """
    options = session.options

    def load(min_size: Size) -> Frame:
        header = read_header(data)
        check_limits(header, limits)
        return _decode(data, header, min_size, options)

    return await session.run(
        load,
        lambda frame, found: render_file(
            options.render,
            options.encoded_as,
            frame,
            session.backdrop(options.picture, frame.photo_hw),
            found,
        ),
    )


def fitting(size_hw: Size, longest: int | None) -> Size:
    """That size scaled down until its longer side is at most `longest`."""
    if longest is None or max(size_hw) <= longest:
        return size_hw
    scale = longest / max(size_hw)
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def _decode(
    data: bytes | memoryview, header: ImageHeader, min_size: Size, options: StreamOptions
) -> Frame:
    """As large as the result; where that is a mask, only as large as the model needs."""
    result_hw = fitting(header.upright_hw, options.size)
    if options.render.only_mask:
        return Frame(decode(data, header, at_least=min_size).rgb, result_hw)
    return Frame(resize(decode(data, header, at_least=result_hw).rgb, result_hw), result_hw)
