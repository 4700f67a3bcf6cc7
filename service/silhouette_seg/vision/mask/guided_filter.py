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

from itertools import combinations_with_replacement

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Size
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
NOISE_VARIANCE = 13.0
"""Variance of a colour channel (0..255) that counts as noise: the filter's regularisation."""
FULL_WEIGHT_SHARE = 0.5
"""Share of the mask's variance that colours must explain for the filter to have full weight."""
CONTRAST_GAIN = 2.5
"""Factor by which the filter's result, 0..1, is stretched about one half."""
GREY_SHARES = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in cv2.COLOR_RGB2GRAY, its fastest sum of three channels."""
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
    uncertain = np.asarray(cv2.inRange(small, MIN_UNCERTAIN, MAX_UNCERTAIN), np.uint8)
    if not cv2.hasNonZero(uncertain):
        return refined
    part = _surroundings(uncertain)
    solved = _solve_lines(grid.downsample(rgb)[part], small[part], uncertain[part])
    planes = [_paste(values, part, grid.size_hw) for values in solved]
    padded = [pad_cells(plane) for plane in planes]
    for tile in tiles_near(grid, (planes[-1] > 0).astype(np.uint8)):
        slopes, constant, weight = (tile.upsample(plane) for plane in padded)
        refined[tile.pixels] = _apply_lines(
            slopes, constant, weight, rgb[tile.pixels], alpha[tile.pixels]
        )
    return refined


def _surroundings(uncertain: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Returns the slices of the rows and columns of cells that decide the refined pixels.

    `uncertain` is uint8 [h,w], not 0 in uncertain cells, of which there must be one.
    """
    left, top, width, height = cv2.boundingRect(uncertain)
    # Two cells around an uncertain one have a weight. Their lines are two averages, of a radius
    # each, and pixels lie between cells.
    margin = 2 + 2 * RADIUS_CELLS + 1
    return (
        slice(max(0, top - margin), top + height + margin),
        slice(max(0, left - margin), left + width + margin),
    )


def _paste(values: Plane, part: tuple[slice, slice], size_hw: Size) -> Plane:
    """Returns float32 [*size_hw] or [*size_hw,c] with `values` at the slices `part`, else 0."""
    whole = np.zeros((*size_hw, *values.shape[2:]), np.float32)
    whole[part] = values
    return whole


def _solve_lines(
    rgb: NDArray[np.uint8], alpha: NDArray[np.uint8], uncertain: NDArray[np.uint8]
) -> tuple[Plane, Plane, Plane]:
    """Fits, for each cell, the linear function from the colours around it to the mask.

    The photo is uint8 [h,w,3] and the mask uint8 [h,w], with one value per cell. `uncertain`, uint8
    [h,w], is not 0 in uncertain cells. The function maps colours 0..255 to mask levels. Returns, in
    float32, the factors of red, green and blue [h,w,3], the constant [h,w], and the weight of the
    function [h,w], 0..1. The factors are divided by GREY_SHARES. The weight is 0 away from
    uncertain cells.
    """
    channels = [channel.astype(np.uint16) for channel in (*cv2.split(rgb), alpha)]
    means = [_box_mean(channel) for channel in channels]
    rr, rg, rb, ra, gg, gb, ga, bb, ba, aa = (
        _box_mean(channels[i] * channels[j]) - means[i] * means[j]
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
    stretched = CONTRAST_GAIN * _box_mean(constant) + np.float32(255 * (1 - CONTRAST_GAIN) / 2)
    near = cv2.dilate(uncertain, np.ones((3, 3), np.uint8))
    weight = np.asarray(cv2.blur(cv2.copyTo(weight, near), (3, 3)), np.float32)
    slopes = [
        CONTRAST_GAIN / share * _box_mean(slope)
        for slope, share in zip((red, green, blue), GREY_SHARES, strict=True)
    ]
    return np.asarray(cv2.merge(slopes), np.float32), stretched, weight


def _box_mean(values: MatLike) -> Plane:
    side = 2 * RADIUS_CELLS + 1
    return np.asarray(cv2.boxFilter(values, cv2.CV_32F, (side, side)), np.float32)


def _apply_lines(
    slopes: Plane, constant: Plane, weight: Plane, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]
) -> MatLike:
    """Moves a tile of the mask, uint8 [h,w], towards the value of a linear function of its colours.

    `slopes` [h,w,3], `constant` [h,w] and `weight` [h,w] are those of `_solve_lines`, for each
    pixel. Returns uint8 [h,w].
    """
    terms = rgb.astype(np.float32)
    cv2.multiply(terms, slopes, dst=terms)
    change = np.asarray(cv2.cvtColor(terms, cv2.COLOR_RGB2GRAY), np.float32)
    cv2.add(change, constant, dst=change)
    cv2.threshold(change, 255, 0, cv2.THRESH_TRUNC, dst=change)
    cv2.threshold(change, 0, 0, cv2.THRESH_TOZERO, dst=change)
    level = alpha.astype(np.float32)
    cv2.subtract(change, level, dst=change)
    cv2.accumulateProduct(change, weight, level)
    return cv2.convertScaleAbs(level)
