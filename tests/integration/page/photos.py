"""Photos for the tests of the photo tab, and measures of its results."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

RED, GREEN, BLUE, WHITE = (24, 16), (72, 16), (24, 48), (72, 48)
"""Centres (x, y) of the quarters of `images.quadrants()`."""


def one_person() -> Pixels:
    """Returns a photo of one person, 120 x 200 pixels, left of the centre.

    The right half of the person has blue added.
    """
    photo = np.zeros((240, 320, 3), np.uint8)
    photo[40:, 40:160] = (255, 0, 0)
    photo[40:, 100:160, 2] = 255
    return photo


def soft_pixels(alpha: Pixels) -> int:
    """Counts the pixels that are neither opaque nor transparent."""
    return int(((alpha > 12) & (alpha < 243)).sum())


def person_pixels(rgba: Pixels) -> int:
    return int((rgba[..., 3] > 127).sum())


def horizontal_centre(rgba: Pixels) -> float:
    """Returns the mean column of the visible pixels."""
    return float(np.flatnonzero((rgba[..., 3] > 127).any(axis=0)).mean())


def lower_edge(rgba: Pixels) -> int:
    return int(np.flatnonzero((rgba[..., 3] > 127).any(axis=1)).max()) + 1
