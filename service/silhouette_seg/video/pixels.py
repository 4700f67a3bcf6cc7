"""Converts rendered images to frames in the pixel formats of video codecs."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

from silhouette_seg.video.colour import swscale_matrix

LIMITED_RANGE, FULL_RANGE = 1, 2
"""Values of libav's AVColorRange.

Players expect the limited range; RGB pixels have the full one.
"""
_RGB_FORMATS = {3: "rgb24", 4: "rgba"}


def rgb_format(image: NDArray[np.uint8]) -> str:
    """Returns libav's name of the pixel format of an image, uint8 [h,w,3] or [h,w,4]."""
    return _RGB_FORMATS[image.shape[2]]


def to_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns an image with colours: grey, uint8 [h,w], gets three equal channels."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def to_bgra(image: NDArray[np.uint8]) -> VideoFrame:
    """Converts an image, uint8 [h,w] or [h,w,3|4], to a frame in BGRA with the same values."""
    image = to_rgb(image)
    return VideoFrame.from_ndarray(image, rgb_format(image)).reformat(format="bgra")


def to_yuv(image: NDArray[np.uint8], pixel_format: str, matrix: int) -> VideoFrame:
    """Converts an image, uint8 [h,w] or [h,w,3|4], to a frame in YUV; alpha values stay exact.

    `pixel_format` has 8 or 10 bits. `matrix` converts RGB to YUV; it is an AVColorSpace number of
    libav.
    """
    source_format = "gray" if image.ndim == 2 else rgb_format(image)
    frame = VideoFrame.from_ndarray(image, source_format).reformat(
        format=pixel_format,
        dst_colorspace=swscale_matrix(matrix),
        src_color_range=FULL_RANGE,
        dst_color_range=LIMITED_RANGE,
    )
    # ProRes writes them in the header of each frame.
    frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    if source_format == "rgba":
        _write_alpha(frame, image[..., 3])
    return frame


def _write_alpha(frame: VideoFrame, alpha: NDArray[np.uint8]) -> None:
    """Writes the alpha of a frame in YUV; libswscale's own conversion raises values by one.

    In 10 bits the upper bits are repeated below, so that 255 becomes 1023.
    """
    plane = frame.planes[3]
    values: NDArray[np.uint8 | np.uint16] = alpha
    if frame.format.components[3].bits > 8:
        values = np.asarray((alpha.astype(np.uint16) << 2) | (alpha >> 6), np.uint16)
    rows = np.frombuffer(memoryview(plane), values.dtype).reshape(plane.height, -1)
    rows[:, : plane.width] = values
