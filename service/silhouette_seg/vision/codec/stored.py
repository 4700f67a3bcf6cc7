"""Decoded pixels as an image file stores them."""

from dataclasses import dataclass

import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class StoredPixels:
    """Decoded 8-bit pixels as the file stores them, before the orientation is applied."""

    pixels: NDArray[np.uint8]
    """RGB uint8 [h,w,3], or CMYK uint8 [h,w,4] where 255 is no ink."""
    alpha: NDArray[np.uint8] | None = None
    """Opacity uint8 [h,w], 255 = opaque; None if every pixel is opaque."""
    warning: str | None = None
    """A sentence on a fault of the file that costs no pixel; None without one."""


def as_u8(pixels: MatLike) -> NDArray[np.uint8]:
    """Returns pixels of cv2, which are uint8 already, with their element type."""
    return np.asarray(pixels, np.uint8)
