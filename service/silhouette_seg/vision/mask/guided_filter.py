"""Edges of a mask from the photo itself.

A model sees the photo at a few hundred pixels, so its mask, made as large as the photo again, is
soft for as many pixels as one of the model's covers, and follows the outline no better than that.
Here the guided filter (He, Sun, Tang, TPAMI 2013; solved at a reduced size as in He and Sun 2015)
finds, for each place, the line through colour space that tells the mask best, and the photo's
own pixels are put on that line.

Two things differ from the filter as published. It is trusted only as far as colours do tell the
mask there (their share of its variance): where person and background look alike the filter would
average the mask, which eats limbs, and the model knows better. And because a regression that
explains a part gives back a part of the contrast, its answer is stretched about the middle.
"""

from collections.abc import Sequence
from itertools import combinations_with_replacement

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.vision.mask.boundary_tiles import make_grid, pad_cells, tiles_near

SOLVE_CELLS = 192
"""Cells along the photo's longer side at which lines are found: about what a model sees."""
MIN_GUIDE_SIDE = 1536
"""Pixels along its longer side from which a photo, reduced as it was decoded, may guide a mask
that is wanted alone. Every pixel more tells a little more of hair, so there is no size at which
nothing is lost: over made heads with strands of 2 to 5 pixels in 3072, this takes away 86 % of
what the whole photo takes away of the mask's error (2048: 91 %; 1024: 75 %; 768: 62 %; 384: 28 %).
"""
RADIUS_CELLS = 3
"""Cells to either side that share a line."""
NOISE_VARIANCE = 2e-4
"""Variance of a colour channel (0..1) that tells nothing."""
FULL_WEIGHT_SHARE = 0.5
"""The share of the mask's variance that colours must explain to be trusted whole."""
CONTRAST_GAIN = 2.5
"""By how much the filter's answer is stretched about one half."""
MIN_UNCERTAIN, MAX_UNCERTAIN = 8, 247
"""Levels from and to which a mask is uncertain."""

Plane = NDArray[np.float32]


def refine_edges(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask uint8 [H,W] with the edges of its photo uint8 [H,W,3].

    Changes only what is within a few cells of an uncertain one; a mask without any comes back as
    it is.
    """
    height, width = alpha.shape
    cells = make_grid((height, width), SOLVE_CELLS)
    small = cells.downsample(alpha)
    refined = alpha.copy()
    uncertain = cv2.inRange(small, MIN_UNCERTAIN, MAX_UNCERTAIN)
    if not cv2.hasNonZero(uncertain):
        return refined
    lines, trust = _solve_lines(cells.downsample(rgb), small)
    near = cv2.dilate(uncertain, np.ones((3, 3), np.uint8))
    weight = cv2.blur(cv2.copyTo(trust, near), (3, 3))
    padded = [pad_cells(plane) for plane in (*lines, weight)]
    for tile in tiles_near(cells, (weight > 0).astype(np.uint8)):
        *line, share = (tile.upsample(plane) for plane in padded)
        refined[tile.pixels] = _apply_lines(line, share, rgb[tile.pixels], alpha[tile.pixels])
    return refined


def _solve_lines(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> tuple[list[Plane], Plane]:
    """For each cell of [h,w,3] and [h,w] the line from colours 0..255 to levels of the mask, as
    what to multiply red, green and blue by and what to add; and how far to trust it, 0..1.
    """
    planes = [np.asarray(each, np.float32) for each in cv2.split(rgb)] + [alpha.astype(np.float32)]
    planes = [plane * np.float32(1 / 255) for plane in planes]
    means = [_box_mean(plane) for plane in planes]
    rr, rg, rb, ra, gg, gb, ga, bb, ba, aa = (
        _box_mean(planes[i] * planes[j]) - means[i] * means[j]
        for i, j in combinations_with_replacement(range(4), 2)
    )
    # LDL of the colours' covariance, every cell at once
    d1, d2 = rr + NOISE_VARIANCE, gg + NOISE_VARIANCE
    l21, l31 = rg / d1, rb / d1
    d2 -= l21 * rg
    below = gb - l31 * rg
    l32 = below / d2
    d3 = bb + NOISE_VARIANCE - l31 * rb - l32 * below
    y1, y2 = ra, ga - l21 * ra
    y3 = ba - l31 * y1 - l32 * y2
    blue = y3 / d3
    green = y2 / d2 - l32 * blue
    red = y1 / d1 - l21 * green - l31 * blue
    constant = means[3] - red * means[0] - green * means[1] - blue * means[2]
    explained = (red * ra + green * ga + blue * ba) / np.maximum(aa, NOISE_VARIANCE)
    trust = np.clip(explained / FULL_WEIGHT_SHARE, 0, 1).astype(np.float32, copy=False)
    stretched = 255 * (CONTRAST_GAIN * _box_mean(constant) + (1 - CONTRAST_GAIN) / 2)
    return [*(CONTRAST_GAIN * _box_mean(slope) for slope in (red, green, blue)), stretched], trust


def _box_mean(plane: MatLike) -> Plane:
    side = 2 * RADIUS_CELLS + 1
    return np.asarray(cv2.blur(plane, (side, side)), np.float32)


def _apply_lines(
    line: Sequence[Plane], share: Plane, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]
) -> MatLike:
    """A tile: the mask uint8 [h,w] moved to what its line says by `share` of the way."""
    by_red, by_green, by_blue, told = line
    red, green, blue = cv2.split(rgb.astype(np.float32))
    partly = cv2.add(cv2.add(told, cv2.multiply(by_red, red)), cv2.multiply(by_green, green))
    level = cv2.add(partly, cv2.multiply(by_blue, blue), dtype=cv2.CV_8U)
    return cv2.blendLinear(level, alpha, share, 1 - share)
