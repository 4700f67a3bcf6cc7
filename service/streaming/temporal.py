"""What a mask owes to the frame before it: pure functions of pictures and masks at model size."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CUT = 0.25
"""Mean change of brightness, as a share of white, over which a frame is another scene."""
STILL = 6.0
"""Levels of change that noise makes: below it a pixel has not moved."""
MOVING = 24.0
"""Levels of change from which a pixel owes nothing to the mask before."""
_NEAR = 9
"""Pixels of the model's image: a change counts for all that are this near, so that no ghost of an
edge is left behind what moved away."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that has been: its image uint8 [h,w,3], and the masks uint8 [h,w] that the model gave
    and that were shown."""

    image: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    shown: NDArray[np.uint8]


def is_cut(image: NDArray[np.uint8], before: NDArray[np.uint8]) -> bool:
    """Whether two images uint8 [h,w,3] of one stream show different scenes."""
    return float(cv2.absdiff(_small(image), _small(before)).mean()) > 255 * CUT


def smooth(
    alpha: NDArray[np.uint8], image: NDArray[np.uint8], before: Seen, dial: float
) -> NDArray[np.uint8]:
    """The mask to show, uint8 [h,w], for the mask that the model gave for this image.

    Where the picture stands still the mask moves from the one shown before towards the new one by
    the share 1 - `dial` (0..1) a frame; where it moves the new mask stands. 0 changes nothing.
    """
    if dial <= 0:
        return alpha
    keep = dial * (1 - _motion(image, before.image))
    mixed = alpha + keep * (before.shown.astype(np.float32) - alpha)
    return np.asarray(np.rint(mixed), np.uint8)


def _motion(image: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.float32]:
    """0 (stands still) to 1 (moves) for each pixel, [h,w]."""
    change = cv2.absdiff(cv2.blur(image, (3, 3)), cv2.blur(before, (3, 3))).max(axis=2)
    spread = cv2.dilate(change, np.ones((_NEAR, _NEAR), np.uint8))
    share = (spread.astype(np.float32) - STILL) / (MOVING - STILL)
    return np.asarray(np.clip(share, 0, 1), np.float32)


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA), np.uint8)
