"""Temporal smoothing of masks: pure functions of video frames and masks at the model's size."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SCENE_CUT_CHANGE = 0.12
"""Mean change of brightness, as a share of white, above which a frame begins another scene.

Frames of different clips nearly always differ by more, frames of one clip never. The measurements
are in training/RESULTS.md.
"""
NOISE_LEVELS = 6.0
"""Largest change of a pixel, in levels of 0..255, that counts as noise: the pixel is static."""
MOTION_LEVELS = 24.0
"""Change of a pixel, in levels of 0..255, from which it moves: its previous mask is ignored."""
_MOTION_KERNEL = np.ones((5, 5), np.uint8)
"""Neighbourhood of a changed pixel that counts as changed, in pixels of the model's input.

With it an edge that moved leaves no ghost. A larger neighbourhood mistakes noise for motion.
"""
MAX_CARRY_OVER = 0.9
"""Share 0..1 of the previous mask in the next one, at the strongest smoothing.

It is below 1, so that an error fades within a second at every strength.
"""
PRIOR_GAIN = 0.125
"""Factor 0..1 for the previous mask before a model receives it as its input `prior`.

The model was trained on correct masks alone. With the whole mask it mistakes its own errors for the
person, and they grow from frame to frame. RCRNet's card has the figures of other factors.
"""


@dataclass(frozen=True, slots=True)
class PreviousFrame:
    """The previous video frame at the model's size: RGB uint8 [h,w,3], and two masks uint8 [h,w].

    `alpha` is the mask from the model, and `smoothed` the mask that was shown; 255 = person.
    """

    image: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    smoothed: NDArray[np.uint8]


def is_scene_cut(image: NDArray[np.uint8], previous: NDArray[np.uint8]) -> bool:
    """Returns True if two consecutive RGB frames, uint8 [h,w,3], show different scenes."""
    return brightness_change(image, previous) > SCENE_CUT_CHANGE


def brightness_change(image: NDArray[np.uint8], previous: NDArray[np.uint8]) -> float:
    """Returns the mean change of brightness between two RGB frames uint8 [h,w,3], 0..1.

    The frames are compared at 16 x 16 pixels. 1 is a change from black to white.
    """
    return float(cv2.absdiff(_thumbnail(image), _thumbnail(previous)).mean()) / 255


def damped_prior(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the model input `prior` of the next frame, from the mask of this one.

    Both are uint8 [h,w]. The mask is multiplied by `PRIOR_GAIN`.
    """
    return np.asarray(cv2.convertScaleAbs(alpha, alpha=PRIOR_GAIN), np.uint8)


def smooth(
    alpha: NDArray[np.uint8], image: NDArray[np.uint8], previous: PreviousFrame, strength: float
) -> NDArray[np.uint8]:
    """Returns the mask `alpha` of a frame, uint8 [h,w], smoothed with the previous frame's mask.

    `image` is the frame, RGB uint8 [h,w,3]. Where it is static, the shown mask moves towards the
    new one, by the share 1 - `MAX_CARRY_OVER` * `strength` per frame. Where it moves, the new mask
    is used unchanged. `strength` is 0..1; 0 disables smoothing.
    """
    if strength <= 0:
        return alpha
    carry_over = cv2.LUT(_motion(image, previous.image), _carry_over_by_level(strength))
    lag = cv2.subtract(previous.smoothed, alpha, dtype=cv2.CV_16S)
    carried = cv2.multiply(lag, carry_over, scale=1 / 255, dtype=cv2.CV_16S)
    return np.asarray(cv2.add(alpha, carried, dtype=cv2.CV_8U), np.uint8)


def _carry_over_by_level(strength: float) -> NDArray[np.uint8]:
    """Returns the share of the previous mask in the next one, by the change of the pixel.

    The table is uint8 [256], indexed by the change in levels 0..255; a value of 255 means all of
    the previous mask.
    """
    motion = np.clip((np.arange(256) - NOISE_LEVELS) / (MOTION_LEVELS - NOISE_LEVELS), 0, 1)
    return np.asarray(255 * MAX_CARRY_OVER * strength * (1 - motion), np.uint8)


def _motion(image: NDArray[np.uint8], previous: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the change between two RGB frames uint8 [h,w,3] at each pixel, uint8 [h,w].

    It is the largest change of any colour channel in the neighbourhood of the pixel.
    """
    blurred, previous_blurred = cv2.blur(image, (3, 3)), cv2.blur(previous, (3, 3))
    red, green, blue = cv2.split(cv2.absdiff(blurred, previous_blurred))
    return np.asarray(cv2.dilate(cv2.max(cv2.max(red, green), blue), _MOTION_KERNEL), np.uint8)


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns an RGB frame uint8 [h,w,3] reduced to grey uint8 [16,16]."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA), np.uint8)
