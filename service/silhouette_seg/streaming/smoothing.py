"""What a mask owes to the frame before it: pure functions of pictures and masks at model size."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CUT = 0.12
"""Mean change of brightness, as a share of white, over which a frame is another scene. Between two
clips of the data pack it is nearly always more, within one never: see training/RESULTS.md."""
STILL = 6.0
"""Levels of change that noise makes: below it a pixel has not moved."""
MOVING = 24.0
"""Levels of change from which a pixel owes nothing to the mask before."""
_SQUARE = np.ones((5, 5), np.uint8)
"""Pixels of the model's image: a change counts for all around it, so that no ghost of an edge is
left behind what moved away. Wider, noise alone passes for motion."""
KEEP = 0.9
"""Of the mask before, at most: one that is wrong fades within a second, wherever the dial is."""
TRUST = 0.5
"""Of the mask before, what a model with a prior is told. Told all, it takes its own mistakes for
the person, and they grow from frame to frame: training shows it right masks alone."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that has been: its image uint8 [h,w,3], and the masks uint8 [h,w] that the model gave
    and that were shown."""

    image: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    shown: NDArray[np.uint8]


def is_cut(image: NDArray[np.uint8], before: NDArray[np.uint8]) -> bool:
    """Whether two images uint8 [h,w,3] of one stream show different scenes."""
    return change(image, before) > CUT


def change(image: NDArray[np.uint8], before: NDArray[np.uint8]) -> float:
    """The mean change of brightness, coarsely seen, between two images uint8 [h,w,3]: 0..1."""
    return float(cv2.absdiff(_small(image), _small(before)).mean()) / 255


def hint(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The prior of the next frame, uint8 [h,w], of the mask that the model gave for this one."""
    return np.asarray(cv2.convertScaleAbs(alpha, alpha=TRUST), np.uint8)


def smooth(
    alpha: NDArray[np.uint8], image: NDArray[np.uint8], before: Seen, dial: float
) -> NDArray[np.uint8]:
    """The mask to show, uint8 [h,w], for the mask that the model gave for this image.

    Where the picture stands still the mask moves from the one shown before towards the new one by
    the share 1 - `KEEP` * `dial` (0..1) a frame; where it moves the new mask stands. 0 changes
    nothing.
    """
    if dial <= 0:
        return alpha
    owed = cv2.LUT(_change(image, before.image), _owed(dial))
    lag = cv2.subtract(before.shown, alpha, dtype=cv2.CV_16S)
    kept = cv2.multiply(lag, owed, scale=1 / 255, dtype=cv2.CV_16S)
    return np.asarray(cv2.add(alpha, kept, dtype=cv2.CV_8U), np.uint8)


def _owed(dial: float) -> NDArray[np.uint8]:
    """What a pixel owes to the mask before, 255 being all, for each level of change [256]."""
    moving = np.clip((np.arange(256) - STILL) / (MOVING - STILL), 0, 1)
    return np.asarray(255 * KEEP * dial * (1 - moving), np.uint8)


def _change(image: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Levels of change of the colour that changed most, at each pixel or near it, [h,w]."""
    red, green, blue = cv2.split(cv2.absdiff(cv2.blur(image, (3, 3)), cv2.blur(before, (3, 3))))
    return np.asarray(cv2.dilate(cv2.max(cv2.max(red, green), blue), _SQUARE), np.uint8)


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA), np.uint8)
