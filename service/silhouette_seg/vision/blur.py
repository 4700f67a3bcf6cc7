"""Gaussian blur at a cost that does not grow with the radius."""

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import resize, resize_bilinear
from silhouette_seg.vision.inpaint import fill_hidden

MIN_SIGMA = 2.0
"""Smallest sigma at the reduced size. A smaller one shows the grid of the reduction."""


def gaussian(
    image: NDArray[np.uint8], sigma: float, hidden: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Blurs uint8 [H,W] or [H,W,3] by `sigma` pixels. Returns a copy when sigma is 0.

    Pixels that `hidden`, uint8 [H,W], covers (255 = entirely) do not bleed into the rest: see
    `inpaint.fill_hidden`. An empty `hidden` gives the same blur as None.
    """
    if sigma <= 0:
        return image.copy()
    return resize_bilinear(blur_reduced(image, sigma, hidden), (image.shape[0], image.shape[1]))


def blur_reduced(
    image: NDArray[np.uint8], sigma: float, hidden: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Blurs like `gaussian`, for a sigma over 0, and returns the result at a reduced size.

    A wide blur leaves no detail that a smaller image cannot hold. The image is therefore halved
    while the remaining sigma stays over MIN_SIGMA, and blurred at that size.
    """
    factor = 1
    while sigma / (2 * factor) >= MIN_SIGMA:
        factor *= 2
    height, width = image.shape[:2]
    small_hw = max(1, round(height / factor)), max(1, round(width / factor))
    small = resize(image, small_hw)
    if hidden is not None:
        small = fill_hidden(small, resize(hidden, small_hw))
    return np.asarray(cv2.GaussianBlur(small, (0, 0), sigma / factor), np.uint8)
