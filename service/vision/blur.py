"""Gaussian blur whose cost does not grow with its radius."""

import cv2
import numpy as np
from numpy.typing import NDArray

from service.vision.geometry import shrink

MIN_SIGMA = 2.0
"""Sigma left to do at the reduced size; less shows the grid of the reduction."""


def gaussian(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Blurs uint8 [H,W] or [H,W,3] by `sigma` pixels; a copy when sigma is 0.

    A wide blur leaves nothing that a smaller image cannot hold, so the image is halved while
    the remaining sigma stays over MIN_SIGMA, blurred there, and resized back.
    """
    if sigma <= 0:
        return image.copy()
    factor = 1
    while sigma / (2 * factor) >= MIN_SIGMA:
        factor *= 2
    height, width = image.shape[:2]
    small = shrink(image, (max(1, round(height / factor)), max(1, round(width / factor))))
    blurred = cv2.GaussianBlur(small, (0, 0), sigma / factor)
    resized = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
