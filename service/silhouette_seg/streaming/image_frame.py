"""Segments one video frame that is an image file, to an image file."""

from dataclasses import dataclass, replace

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
from silhouette_seg.vision.geometry import Size

MAX_FRAME_PIXELS = 4096 * 2160
"""Maximum number of pixels of a video frame. Every stream may hold one decoded frame."""


@dataclass(frozen=True, slots=True)
class StreamFrameTask:
    """Decodes one frame of a stream from an image file, and renders its result.

    It is the `FrameTask` that `Segmenter.run` calls before and after the model.
    """

    session: StreamSession
    options: StreamOptions
    data: bytes | memoryview
    limits: ImageLimits

    def decode(self, min_size: Size) -> Frame:
        """Checks the frame's limits, decodes it, and scales it to the size of the result.

        For mask output it only has sides of at least `min_size`, (height, width) in pixels. Raises
        the errors of `read_header`, `check_limits` and `decode`.
        """
        header = read_header(self.data)
        check_limits(header, self.limits)
        result_hw = scale_to_fit(header.upright_hw, self.options.size)
        if self.options.render.only_mask:
            return replace(decode(self.data, header, min_size=min_size), photo_hw=result_hw)
        return decode(self.data, header, min_size=result_hw).resized(result_hw)

    def render(self, frame: Frame, matte: Matte) -> RenderedImage:
        """Renders the mask, cut-out or composite of the frame, and encodes it as an image file.

        Raises the errors of `render_file`.
        """
        options = self.options
        background = self.session.scaled_background(options.background, frame.photo_hw)
        return render_file(options.render, options.image_format, frame, background, matte)


async def process_frame(
    session: StreamSession, data: bytes | memoryview, limits: ImageLimits
) -> RenderedImage:
    """Segments the next frame of a stream, an image file, and returns the encoded result.

    The options are those of the session. Raises errors.ServiceError for an invalid frame or one
    beyond `limits`, and if the model fails.
    """
    return await session.segment(StreamFrameTask(session, session.options, data, limits))


def scale_to_fit(size_hw: Size, max_side: int | None) -> Size:
    """Returns (height, width) scaled down so that the longer side has at most `max_side` pixels.

    The aspect ratio stays; None keeps the size.
    """
    if max_side is None or max(size_hw) <= max_side:
        return size_hw
    scale = max_side / max(size_hw)
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))
