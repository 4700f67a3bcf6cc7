"""One frame of a stream that comes, and goes back, as an image file."""

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

FRAME_PIXELS = 4096 * 2160
"""The most that one frame has: every stream may hold a decoded one."""


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
        result_hw = fitting(header.upright_hw, self.options.size)
        if self.options.render.only_mask:
            return Frame(decode(self.data, header, at_least=min_size).rgb, result_hw)
        frame = decode(self.data, header, at_least=result_hw)
        return Frame(resize(frame.rgb, result_hw), result_hw)

    def render(self, frame: Frame, matte: Matte) -> RenderedImage:
        """Renders and encodes as `render_file`."""
        options = self.options
        backdrop = self.session.backdrop(options.picture, frame.photo_hw)
        return render_file(options.render, options.encoded_as, frame, backdrop, matte)


async def run_frame(
    session: StreamSession, data: bytes | memoryview, limits: ImageLimits
) -> RenderedImage:
    """The frame that is next in its stream, by the options that hold for it.

    Raises errors.ServiceError for whatever the frame or the engine is to blame for.
    """
    return await session.run(StreamFrameTask(session, session.options, data, limits))


def fitting(size_hw: Size, longest: int | None) -> Size:
    """That size scaled down until its longer side is at most `longest`."""
    if longest is None or max(size_hw) <= longest:
        return size_hw
    scale = longest / max(size_hw)
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))
