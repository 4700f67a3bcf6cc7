"""Simulated masks of the previous frame, for networks with a prior as input.

Source: PortraitNet's released code and RCRNet, "some affine transformation of the current ground
truth". Half of the samples get an empty prior, as for the first frame of a stream.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.augmentation import Image, Rng

EMPTY_PRIOR_CHANCE = 0.5
"""Chance of an empty prior."""
MAX_ANCHOR_SHIFT = 0.05
"""Largest shift of an anchor of the affine transformation, as a share of the side."""
MOTION_BLUR_SHARES = (5 / 224, 30 / 224)
"""Range of the motion blur's length as a share of the side; applied to half of the priors."""


def previous_mask(mask: Image, rng: Rng) -> Image:
    """Returns a prior uint8 [H,W]: empty, or the mask moved slightly and possibly blurred."""
    if rng.random() < EMPTY_PRIOR_CHANCE:
        return np.zeros_like(mask)
    if rng.random() < 0.5:
        mask = np.asarray(
            cv2.filter2D(mask, -1, _motion_blur_kernel(max(mask.shape), rng)), np.uint8
        )
    height, width = mask.shape
    anchors = np.array([[0, 0], [width, 0], [0, height]], np.float32)
    max_shift = MAX_ANCHOR_SHIFT * np.array([width, height])
    source, target = (
        (anchors + rng.uniform(-1, 1, (3, 2)) * max_shift).astype(np.float32) for _ in range(2)
    )
    matrix = cv2.getAffineTransform(source, target)
    return np.asarray(cv2.warpAffine(mask, matrix, (width, height)), np.uint8)


def _motion_blur_kernel(side: int, rng: Rng) -> NDArray[np.float32]:
    """Returns a kernel of motion blur at a random angle; it sums to one."""
    length = max(2, round(side * rng.uniform(*MOTION_BLUR_SHARES)))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    centre = ((length - 1) / 2, (length - 1) / 2)
    rotation = cv2.getRotationMatrix2D(centre, rng.uniform(0, 180), 1)
    rotated = np.asarray(cv2.warpAffine(kernel, rotation, (length, length)), np.float32)
    return np.asarray(rotated / rotated.sum(), np.float32)
