"""Gaussian blur whose cost does not grow with its radius."""

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Size, shrink
from silhouette_seg.vision.inpaint import without

MIN_SIGMA = 2.0
"""Sigma left to do at the reduced size; less shows the grid of the reduction."""


def gaussian(
    image: NDArray[np.uint8], sigma: float, hidden: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Blurs uint8 [H,W] or [H,W,3] by `sigma` pixels; a copy when sigma is 0.

    Nothing of what `hidden`, uint8 [H,W], covers (255 = wholly) gets into the rest: see
    `fill.without`. Where it covers nothing the blur is the same as without it.
    """
    if sigma <= 0:
        return image.copy()
    return enlarge(softened(image, sigma, hidden), (image.shape[0], image.shape[1]))


def softened(
    image: NDArray[np.uint8], sigma: float, hidden: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """As `gaussian` for a sigma over 0, but as small as its result can be held.

    A wide blur leaves nothing that a smaller image cannot hold, so the image is halved while
    the remaining sigma stays over MIN_SIGMA, and blurred there.
    """
    factor = 1
    while sigma / (2 * factor) >= MIN_SIGMA:
        factor *= 2
    height, width = image.shape[:2]
    small_hw = max(1, round(height / factor)), max(1, round(width / factor))
    small = shrink(image, small_hw)
    if hidden is not None:
        small = without(small, shrink(hidden, small_hw))
    return np.asarray(cv2.GaussianBlur(small, (0, 0), sigma / factor), np.uint8)


def enlarge(image: NDArray[np.uint8], size_hw: Size) -> NDArray[np.uint8]:
    """Resizes smooth uint8 [h,w] or [h,w,3] to `size_hw`; itself if it has that size."""
    if image.shape[:2] == size_hw:
        return image
    resized = cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
