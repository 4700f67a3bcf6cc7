"""Temporal stability of the masks of a clip, at the clip's own resolution."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from training.evaluation.metrics import mask_iou

Alpha = NDArray[np.uint8]
"""Mask of one frame, uint8 [H,W], 255 = person."""


def dtssd(alphas: Sequence[Alpha], truths: Sequence[Alpha]) -> float:
    """Returns the dtSSD of masks against the reference, in percent of full alpha; 0 is best.

    100 * sqrt(mean over pixels of ((a[t] - a[t-1]) - (r[t] - r[t-1]))^2), with alpha a and
    reference r in 0..1, then the mean over the pairs of neighbours. Erofeev et al., "Perceptually
    motivated benchmark for video matting" (BMVC 2015), scaled as Lin et al., "Robust
    high-resolution video matting" (WACV 2022).

    Raises ValueError for fewer than two frames, or for a different number of references.
    """
    if not len(alphas) == len(truths) >= 2:
        raise ValueError(f"{len(alphas)} masks, {len(truths)} references: two of each at least")
    errors = ((_unit_range(a) - _unit_range(r)) for a, r in zip(alphas, truths, strict=True))
    # The difference of differences is the same in either order.
    squares = [np.square(error - previous).mean() for previous, error in pairwise(errors)]
    return float(100 * np.sqrt(squares).mean())


def previous_positions(
    image: NDArray[np.uint8], previous: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Returns the position (x, y) of each pixel in the previous frame, float32 [H,W,2] in pixels.

    Both frames are uint8 [H,W,3], RGB. The optical flow is OpenCV's dense inverse search (Kroeger
    et al., ECCV 2016).
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey, grey_previous = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (image, previous))
    flow = search.calc(grey, grey_previous, np.zeros((*grey.shape, 2), np.float32))
    y, x = np.indices(grey.shape, np.float32)
    return np.asarray(np.dstack([x, y]) + flow, np.float32)


def warped_iou(alphas: Sequence[Alpha], positions: Sequence[NDArray[np.float32]]) -> float:
    """Returns the mean IoU of each mask with the warped previous mask, in percent.

    `positions` are those of `previous_positions` for every frame but the first. A pixel is person
    for alpha over 127. Two masks without a person have IoU 1.

    Raises ValueError for fewer than two frames, or unless there is one position map fewer than
    masks.
    """
    if len(alphas) < 2:
        raise ValueError("two frames at least")
    return float(100 * np.mean(list(_warped_ious(alphas, positions))))


def _warped_ious(
    alphas: Sequence[Alpha], positions: Sequence[NDArray[np.float32]]
) -> Iterator[float]:
    for (previous, alpha), position in zip(pairwise(alphas), positions, strict=True):
        x, y = cv2.split(position)
        warped = cv2.remap(previous, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        yield mask_iou(warped > 127, alpha > 127)


def _unit_range(alpha: Alpha) -> NDArray[np.float32]:
    return alpha.astype(np.float32) / np.float32(255)
