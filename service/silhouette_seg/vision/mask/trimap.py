"""Makes a trimap for matting tools from an alpha mask.

Such tools, for example PyMatting and ViTMatte, keep the certain pixels and estimate the others.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.mask.quality import grow

BACKGROUND, UNKNOWN, PERSON = 0, 128, 255
"""Levels of a trimap, as matting tools expect them."""
MAX_BACKGROUND_ALPHA, MIN_PERSON_ALPHA = 10, 240
"""Largest alpha of certain background, and smallest alpha of a certain person.

They are the default thresholds of rembg's alpha matting.
"""


def make_trimap(alpha: NDArray[np.uint8], band_percent: float) -> NDArray[np.uint8]:
    """Returns the trimap of a mask; both are uint8 [H,W].

    Unknown are the pixels with an alpha between both thresholds, and all pixels within
    `band_percent` percent of the short side of them or of the outline. A part of the person that is
    narrower than twice that distance is unknown. The edge of the photo is no outline.
    """
    radius = round(band_percent / 100 * min(alpha.shape))
    person = _threshold(alpha, MIN_PERSON_ALPHA - 1, 255)
    possible = _threshold(alpha, MAX_BACKGROUND_ALPHA, 255)
    # A wide growth is computed at a reduced size, where its own outline is a ramp.
    certain = _threshold(grow(person, -radius), 254, PERSON)
    near = _threshold(grow(possible, radius), 0, UNKNOWN)
    cv2.min(certain, person, dst=certain)
    cv2.max(near, _threshold(possible, 0, UNKNOWN), dst=near)
    return np.asarray(cv2.max(certain, near, dst=near), np.uint8)


def _threshold(image: NDArray[np.uint8], level: int, value: int) -> NDArray[np.uint8]:
    """Returns `value` where an image, uint8 [H,W], is over `level`, else 0."""
    return np.asarray(cv2.threshold(image, level, value, cv2.THRESH_BINARY)[1], np.uint8)
