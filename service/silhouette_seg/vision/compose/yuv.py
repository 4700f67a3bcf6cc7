"""Composes I420 images, as video carries them, without conversion to RGB.

The luma plane has full size. Both chroma planes have half the size, rounded up for an odd side. The
matrix is that of BT.601 with black at 16 and white at 235, as browsers send it and OpenCV reads it.
"""

from typing import NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.vision.blur import gaussian
from silhouette_seg.vision.geometry import Size, resize

Plane = NDArray[np.uint8]

NEUTRAL_CHROMA = 128
"""Value of both chroma planes in a grey image."""
_BLACK_LEVEL, _WHITE_LEVEL = 16, 235


class Planes(NamedTuple):
    """I420 image as a luma plane and two chroma planes. Rows of a plane need not be contiguous."""

    y: Plane
    """Luma, uint8 [h,w]."""
    u: Plane
    """Blue chroma, uint8 [ceil(h/2),ceil(w/2)]."""
    v: Plane
    """Red chroma, uint8 [ceil(h/2),ceil(w/2)]."""

    @property
    def size_hw(self) -> Size:
        """(height, width) of the image in pixels, which is that of the luma plane."""
        height, width = self.y.shape
        return height, width


def chroma_size(size_hw: Size) -> Size:
    """Returns the (height, width) of an image's chroma planes: half of `size_hw`, rounded up."""
    return (size_hw[0] + 1) // 2, (size_hw[1] + 1) // 2


def to_rgb(planes: Planes) -> NDArray[np.uint8]:
    """Converts an I420 image of size (h, w) to RGB, uint8 [h,w,3]."""
    (height, width), (rows, columns) = planes.size_hw, chroma_size(planes.size_hw)
    packed = np.empty((3 * rows, 2 * columns), np.uint8)
    y, u, v = _split_planes(packed, (2 * rows, 2 * columns))
    # The last row or column of an odd side is repeated to make the side even.
    y[:height, :width] = planes.y
    y[height:, :width] = planes.y[-1:]
    y[:, width:] = y[:, width - 1 : width]
    u[:], v[:] = planes.u, planes.v
    rgb = _u8(cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420))
    return rgb if rgb.shape[:2] == (height, width) else rgb[:height, :width].copy()


def from_rgb(rgb: NDArray[np.uint8]) -> Planes:
    """Converts RGB, uint8 [h,w,3], to an I420 image of the same size.

    A chroma value is that of the mean colour of its 2x2 pixels. OpenCV's own conversion takes the
    colour of the pixel at the top left, so that fine coloured lines disappear.
    """
    height, width = rgb.shape[:2]
    if height % 2 or width % 2:
        rgb = _u8(
            cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, borderType=cv2.BORDER_REPLICATE)
        )
    y, _, _ = _convert(rgb)
    half = resize(rgb, (rgb.shape[0] // 2, rgb.shape[1] // 2))
    _, u, v = _convert(half.repeat(2, axis=0).repeat(2, axis=1))
    return Planes(y[:height, :width], u, v)


def _convert(rgb: NDArray[np.uint8]) -> Planes:
    """Converts RGB, uint8 [h,w,3] with even sides; chroma is that of the pixels at the top left."""
    packed = _u8(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420))
    return _split_planes(packed, (rgb.shape[0], rgb.shape[1]))


def _split_planes(packed: Plane, even_hw: Size) -> Planes:
    """Returns views of the Y, U and V planes in an image that OpenCV packed as I420.

    `packed` is uint8 [3h/2,w]: Y, and below it all of U and then all of V. `even_hw` is (h, w).
    """
    height, width = even_hw
    chroma = packed[height:].reshape(2, height // 2, width // 2)
    return Planes(packed[:height], chroma[0], chroma[1])


def from_mask(alpha: NDArray[np.uint8]) -> Planes:
    """Converts a mask, uint8 [h,w], to a grey I420 image: 0 becomes black and 255 white."""
    y = cv2.convertScaleAbs(alpha, alpha=(_WHITE_LEVEL - _BLACK_LEVEL) / 255, beta=_BLACK_LEVEL)
    colour = np.full(chroma_size((alpha.shape[0], alpha.shape[1])), NEUTRAL_CHROMA, np.uint8)
    return Planes(_u8(y), colour, colour)


def composite(planes: Planes, alpha: NDArray[np.uint8], background: Planes) -> Planes:
    """Blends an I420 image over a background of the same size by a mask. Returns the blend.

    `alpha`, uint8 [h,w], is 255 where only the image shows. The result is exact if alpha is 0 or
    255 in all pixels that share a chroma value, and within one level elsewhere.
    """
    small = resize(alpha, chroma_size(planes.size_hw))
    return Planes(
        _blend(planes.y, alpha, background.y),
        _blend(planes.u, small, background.u),
        _blend(planes.v, small, background.v),
    )


def _blend(plane: Plane, alpha: Plane, background: Plane) -> Plane:
    person = cv2.multiply(plane, alpha, scale=1 / 255)
    return _u8(cv2.add(person, cv2.multiply(background, cv2.bitwise_not(alpha), scale=1 / 255)))


def solid(size_hw: Size, colour: tuple[int, int, int]) -> Planes:
    """Returns an I420 image of (height, width) `size_hw`, filled with one RGB colour, 0..255."""
    pixel = from_rgb(np.full((2, 2, 3), colour, np.uint8))
    return Planes(
        np.full(size_hw, pixel.y[0, 0], np.uint8),
        np.full(chroma_size(size_hw), pixel.u[0, 0], np.uint8),
        np.full(chroma_size(size_hw), pixel.v[0, 0], np.uint8),
    )


def blurred(planes: Planes, radius_percent: float, alpha: NDArray[np.uint8]) -> Planes:
    """Returns an I420 image blurred with a Gaussian, for use as the background of its person.

    Sigma is `radius_percent` percent of the short side. `alpha`, uint8 [h,w], covers the person
    (255). Colours around the person replace it before the blur.
    """
    sigma = radius_percent / 100 * min(planes.size_hw)
    small = resize(alpha, chroma_size(planes.size_hw))
    return Planes(
        gaussian(planes.y, sigma, alpha),
        gaussian(planes.u, sigma / 2, small),
        gaussian(planes.v, sigma / 2, small),
    )


def fit_within(planes: Planes, longer_side: int) -> Planes:
    """Scales an I420 image down to at most `longer_side` pixels, with even sides.

    Returns it unchanged if its longer side is no longer than that.
    """
    size_hw = planes.size_hw
    if max(size_hw) <= longer_side:
        return planes
    scale = longer_side / max(size_hw)
    height, width = (max(2, round(side * scale) // 2 * 2) for side in size_hw)
    chroma_hw = chroma_size((height, width))
    return Planes(
        resize(planes.y, (height, width)), resize(planes.u, chroma_hw), resize(planes.v, chroma_hw)
    )


def _u8(pixels: MatLike) -> NDArray[np.uint8]:
    return np.asarray(pixels, np.uint8)
