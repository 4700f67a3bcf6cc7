"""Pictures as video carries them: I420 planes, which are composed without becoming RGB.

Brightness at full size and two colour planes at half size, rounded up where a side is odd; BT.601
with black at 16 and white at 235, as browsers send it and OpenCV reads it.
"""

from typing import NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.vision.blur import gaussian
from silhouette_seg.vision.geometry import Size, resize

Plane = NDArray[np.uint8]

NO_COLOUR = 128
"""The value of both colour planes where a picture is grey."""
_BLACK, _WHITE = 16, 235


class Planes(NamedTuple):
    """`y` is uint8 [h,w]; `u` and `v` are uint8 [ceil(h/2),ceil(w/2)]. Rows may be apart."""

    y: Plane
    u: Plane
    v: Plane

    @property
    def size_hw(self) -> Size:
        height, width = self.y.shape
        return height, width


def half(size_hw: Size) -> Size:
    """The size of the colour planes of a picture."""
    return (size_hw[0] + 1) // 2, (size_hw[1] + 1) // 2


def to_rgb(planes: Planes) -> NDArray[np.uint8]:
    """uint8 [h,w,3]."""
    (height, width), (rows, columns) = planes.size_hw, half(planes.size_hw)
    packed = np.empty((3 * rows, 2 * columns), np.uint8)
    y, u, v = _split(packed, (2 * rows, 2 * columns))
    # An odd side is made even by its last row or column once more.
    y[:height, :width] = planes.y
    y[height:, :width] = planes.y[-1:]
    y[:, width:] = y[:, width - 1 : width]
    u[:], v[:] = planes.u, planes.v
    rgb = _u8(cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420))
    return rgb if rgb.shape[:2] == (height, width) else rgb[:height, :width].copy()


def from_rgb(rgb: NDArray[np.uint8]) -> Planes:
    """Of uint8 [h,w,3]."""
    height, width = rgb.shape[:2]
    if height % 2 or width % 2:
        rgb = _u8(
            cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, borderType=cv2.BORDER_REPLICATE)
        )
    packed = _u8(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420))
    y, u, v = _split(packed, (rgb.shape[0], rgb.shape[1]))
    return Planes(y[:height, :width], u, v)


def _split(packed: Plane, even_hw: Size) -> Planes:
    """The planes inside OpenCV's I420: [3h/2,w] with all of U, then all of V, below Y."""
    height, width = even_hw
    colours = packed[height:].reshape(2, height // 2, width // 2)
    return Planes(packed[:height], colours[0], colours[1])


def grey(alpha: NDArray[np.uint8]) -> Planes:
    """A mask uint8 [h,w] as a picture: 0 is black and 255 white."""
    y = cv2.convertScaleAbs(alpha, alpha=(_WHITE - _BLACK) / 255, beta=_BLACK)
    colour = np.full(half((alpha.shape[0], alpha.shape[1])), NO_COLOUR, np.uint8)
    return Planes(_u8(y), colour, colour)


def composite(planes: Planes, alpha: NDArray[np.uint8], background: Planes) -> Planes:
    """Blends by uint8 [h,w] over a background of the same size; exact where alpha is 0 or 255 all
    over the pixels of a colour, elsewhere within one level."""
    small = resize(alpha, half(planes.size_hw))
    return Planes(
        _blend(planes.y, alpha, background.y),
        _blend(planes.u, small, background.u),
        _blend(planes.v, small, background.v),
    )


def _blend(plane: Plane, alpha: Plane, background: Plane) -> Plane:
    kept = cv2.multiply(plane, alpha, scale=1 / 255)
    return _u8(cv2.add(kept, cv2.multiply(background, cv2.bitwise_not(alpha), scale=1 / 255)))


def solid(size_hw: Size, colour: tuple[int, int, int]) -> Planes:
    """One RGB colour."""
    tones = from_rgb(np.full((2, 2, 3), colour, np.uint8))
    return Planes(
        np.full(size_hw, tones.y[0, 0], np.uint8),
        np.full(half(size_hw), tones.u[0, 0], np.uint8),
        np.full(half(size_hw), tones.v[0, 0], np.uint8),
    )


def blurred(planes: Planes, radius_percent: float, alpha: NDArray[np.uint8]) -> Planes:
    """Out of focus: a Gaussian whose sigma is that share of the short side, of what is behind the
    person of uint8 [h,w].
    """
    sigma = radius_percent / 100 * min(planes.size_hw)
    small = resize(alpha, half(planes.size_hw))
    return Planes(
        gaussian(planes.y, sigma, alpha),
        gaussian(planes.u, sigma / 2, small),
        gaussian(planes.v, sigma / 2, small),
    )


def at_most(planes: Planes, longer_side: int) -> Planes:
    """The same picture with both sides even and none longer; as it is where none is."""
    size_hw = planes.size_hw
    if max(size_hw) <= longer_side:
        return planes
    scale = longer_side / max(size_hw)
    height, width = (max(2, round(side * scale) // 2 * 2) for side in size_hw)
    colours = half((height, width))
    return Planes(
        resize(planes.y, (height, width)), resize(planes.u, colours), resize(planes.v, colours)
    )


def _u8(pixels: MatLike) -> NDArray[np.uint8]:
    return np.asarray(pixels, np.uint8)
