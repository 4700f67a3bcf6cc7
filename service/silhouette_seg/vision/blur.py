"""Gaussian blur at a cost that does not grow with the radius."""

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import resize, resize_bilinear
from silhouette_seg.vision.inpaint import fill_hidden

MIN_SIGMA = 2.0
"""Smallest sigma, in pixels, of a blur that runs on the reduced image.

A smaller sigma would leave the pixel grid of the reduced image visible after enlargement.
"""


def gaussian(
    image: NDArray[np.uint8], sigma: float, hidden: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Blurs an image, uint8 [H,W] or [H,W,3], with a Gaussian of `sigma` pixels.

    Returns a new array of the same shape. It is an unblurred copy if sigma is 0 or less. Pixels
    under `hidden`, uint8 [H,W] with 255 = fully hidden, get colours from around them before the
    blur. Their own colours therefore do not bleed into the visible pixels: see
    `inpaint.fill_hidden`. A `hidden` of zeros has the same effect as None.
    """
    if sigma <= 0:
        return image.copy()
    return resize_bilinear(blur_reduced(image, sigma, hidden), (image.shape[0], image.shape[1]))


def blur_reduced(
    image: NDArray[np.uint8], sigma: float, hidden: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Blurs an image as `gaussian` does, and returns the result at a reduced size.

    `sigma` is in pixels of the full image and must be over 0. The result is uint8 [h,w] or [h,w,3].
    A wide blur leaves no detail that a smaller image cannot hold. The image is therefore halved
    while sigma, in pixels of the halved image, stays at least MIN_SIGMA. It is then blurred at that
    size.
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
