"""A photo and its alpha mask to a cut-out, or to the person before another background."""

import cv2
import numpy as np
from numpy.typing import NDArray

from service.vision.blur import gaussian
from service.vision.geometry import Size, shrink

_STRIP_ROWS = 64
"""Rows worked on at a time: their intermediates stay in the cache and out of malloc's mmap."""


def cutout(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Joins [H,W,3] and [H,W] to RGBA [H,W,4], straight alpha.

    RGB is 0 where alpha is 0: nothing of the background leaks, and PNG needs half the bytes.
    """
    person = np.zeros((*alpha.shape, 4), np.uint8)
    for start in range(0, alpha.shape[0], _STRIP_ROWS):
        rows = slice(start, start + _STRIP_ROWS)
        rgba = cv2.cvtColor(rgb[rows], cv2.COLOR_RGB2RGBA)
        cv2.insertChannel(alpha[rows], rgba, 3)
        cv2.copyTo(rgba, alpha[rows], person[rows])
    return person


def composite(
    rgb: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    background: NDArray[np.uint8],
    *,
    in_place: bool = False,
) -> NDArray[np.uint8]:
    """Blends uint8 [H,W,3] over a background of the same shape; exact where alpha is 0 or 255,
    elsewhere within one level. `in_place` uses the background up: 36 MB less at 12 MP.
    """
    blended = background if in_place else background.copy()
    left, top, width, height = cv2.boundingRect(alpha)
    columns = slice(left, left + width)
    for start in range(top, top + height, _STRIP_ROWS):
        rows = slice(start, min(start + _STRIP_ROWS, top + height))
        strip = alpha[rows, columns]
        alpha3 = cv2.merge([strip, strip, strip])
        person = cv2.multiply(rgb[rows, columns], alpha3, scale=1 / 255)
        rest = cv2.multiply(background[rows, columns], cv2.bitwise_not(alpha3), scale=1 / 255)
        blended[rows, columns] = cv2.add(person, rest)
    return blended


def solid(hw: Size, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """One RGB colour as uint8 [*hw,3]."""
    image = np.empty((*hw, 3), np.uint8)
    # Whole rows are copied; assigning the colour itself goes pixel by pixel, 50 times slower.
    image[:] = np.tile(np.array(colour, np.uint8), (hw[1], 1))
    return image


def blurred(rgb: NDArray[np.uint8], radius_percent: float) -> NDArray[np.uint8]:
    """The photo out of focus: a Gaussian whose sigma is that share of the short side."""
    return gaussian(rgb, radius_percent / 100 * min(rgb.shape[:2]))


def cover(background: NDArray[np.uint8], hw: Size) -> NDArray[np.uint8]:
    """The central part of uint8 [h,w,3] with the aspect ratio of `hw`, resized to [*hw,3]."""
    height, width = background.shape[:2]
    scale = min(height / hw[0], width / hw[1])
    part_height, part_width = max(1, round(hw[0] * scale)), max(1, round(hw[1] * scale))
    top, left = (height - part_height) // 2, (width - part_width) // 2
    return shrink(background[top : top + part_height, left : left + part_width], hw)
