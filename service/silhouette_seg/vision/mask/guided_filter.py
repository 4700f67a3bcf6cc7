"""Refines the edges of a mask with the photo itself.

A model sees the photo at a few hundred pixels. Enlarged to the photo again, its mask is soft over
as many pixels as one model pixel covers. Its outline is no more accurate than that.

The guided filter (He, Sun, Tang, TPAMI 2013) fits a linear function of the colour at each place.
The function is the one that explains the mask best there. It is fitted at a reduced size, as in He
and Sun 2015. The photo's own pixels are then mapped through that function.

Two things differ from the published filter. First, its result is weighted by how well colours
explain the mask there, measured as their share of its variance. Where person and background look
alike, the filter would average the mask and erase limbs. The model's mask is better there. Second,
its result is stretched about the middle. A regression that explains a part of the variance restores
only a part of the contrast.
"""

from collections.abc import Sequence
from itertools import combinations_with_replacement

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.vision.mask.boundary_tiles import make_grid, pad_cells, tiles_near

SOLVE_CELLS = 192
"""Cells along the photo's longer side for which the filter fits its linear functions.

They are about as many as the pixels of a model's input.
"""
MIN_GUIDE_SIDE = 1536
"""Minimum longer side, in pixels, at which a photo is decoded when only its mask is returned.

Every pixel more adds a little detail of hair, so no size is lossless. It was measured on synthetic
heads in photos of 3072 pixels, with strands of hair of 2 to 5 pixels. This size removes 86 % of the
error that the whole photo removes. Other sizes: 2048 removes 91 %, 1024 75 %, 768 62 %, and 384 28
%.
"""
RADIUS_CELLS = 3
"""Radius, in cells, of the square over which one linear function is fitted."""
NOISE_VARIANCE = 2e-4
"""Variance of a colour channel (0..1) that counts as noise: the filter's regularisation."""
FULL_WEIGHT_SHARE = 0.5
"""Share of the mask's variance that colours must explain for the filter to have full weight."""
CONTRAST_GAIN = 2.5
"""Factor by which the filter's result, 0..1, is stretched about one half."""
MIN_UNCERTAIN, MAX_UNCERTAIN = 8, 247
"""First and last level of a mask, 0..255, that counts as uncertain."""

Plane = NDArray[np.float32]


def refine_edges(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Refines the edges of a mask, uint8 [H,W], with those of its photo, uint8 [H,W,3].

    Returns a new mask, uint8 [H,W]. Only pixels within a few cells of an uncertain cell change;
    about SOLVE_CELLS cells span the longer side. A mask without uncertain cells is returned as a
    copy.
    """
    height, width = alpha.shape
    grid = make_grid((height, width), SOLVE_CELLS)
    small = grid.downsample(alpha)
    refined = alpha.copy()
    uncertain = cv2.inRange(small, MIN_UNCERTAIN, MAX_UNCERTAIN)
    if not cv2.hasNonZero(uncertain):
        return refined
    lines, weight = _solve_lines(grid.downsample(rgb), small)
    near = cv2.dilate(uncertain, np.ones((3, 3), np.uint8))
    weight = np.asarray(cv2.blur(cv2.copyTo(weight, near), (3, 3)), np.float32)
    padded = [pad_cells(plane) for plane in (*lines, weight)]
    for tile in tiles_near(grid, (weight > 0).astype(np.uint8)):
        *line, share = (tile.upsample(plane) for plane in padded)
        refined[tile.pixels] = _apply_lines(line, share, rgb[tile.pixels], alpha[tile.pixels])
    return refined


def _solve_lines(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> tuple[list[Plane], Plane]:
    """Fits, for each cell, the linear function from the colours around it to the mask.

    The photo is uint8 [h,w,3] and the mask uint8 [h,w], with one value per cell. Returns four
    float32 planes [h,w]: the factors of red, green and blue and the constant. They map colours
    0..255 to mask levels. Also returns the weight of the function, float32 [h,w], 0..1.
    """
    planes = [np.asarray(each, np.float32) for each in cv2.split(rgb)] + [alpha.astype(np.float32)]
    planes = [plane * np.float32(1 / 255) for plane in planes]
    means = [_box_mean(plane) for plane in planes]
    rr, rg, rb, ra, gg, gb, ga, bb, ba, aa = (
        _box_mean(planes[i] * planes[j]) - means[i] * means[j]
        for i, j in combinations_with_replacement(range(4), 2)
    )
    # LDL decomposition of the colours' covariance, for every cell at once.
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
    weight = np.clip(explained / FULL_WEIGHT_SHARE, 0, 1).astype(np.float32, copy=False)
    stretched = 255 * (CONTRAST_GAIN * _box_mean(constant) + (1 - CONTRAST_GAIN) / 2)
    return [*(CONTRAST_GAIN * _box_mean(slope) for slope in (red, green, blue)), stretched], weight


def _box_mean(plane: MatLike) -> Plane:
    side = 2 * RADIUS_CELLS + 1
    return np.asarray(cv2.blur(plane, (side, side)), np.float32)


def _apply_lines(
    line: Sequence[Plane], share: Plane, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]
) -> MatLike:
    """Moves a tile of the mask, uint8 [h,w], towards the value of a linear function of its colours.

    `line` has four planes [h,w]: factors of red, green and blue and the constant. `share` [h,w],
    0..1, is the weight of the function. Returns uint8 [h,w].
    """
    by_red, by_green, by_blue, constant = line
    red, green, blue = cv2.split(rgb.astype(np.float32))
    partly = cv2.add(cv2.add(constant, cv2.multiply(by_red, red)), cv2.multiply(by_green, green))
    level = cv2.add(partly, cv2.multiply(by_blue, blue), dtype=cv2.CV_8U)
    return cv2.blendLinear(level, alpha, share, 1 - share)
