"""The person's own colour where a photo mixes it with the background's.

Blur-fusion (Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021): the colours of
both sides are averages over the pixels near by, each weighted by how much it belongs to its side,
and what they do not explain of a pixel is that side's own detail; a second pass, over a smaller
radius, averages what the first has cleaned. Here both passes are made at a reduced size and with
weights that prefer what surely belongs, and the photo's pixels are touched only where the mask is
between.

Why not pymatting's multi-level estimate (Germer et al. 2020): on composites of known colours, 32
of training photos and cut-outs, its error was 5.6 and 3.9 levels where this has 6.1 and 5.6 (the
photo itself 14.8 and 16.0), and with a mask softer than the true one 8.0 and 5.1 to 7.1 and 5.8;
for that it took 148 ms of processor time at 1280x720 to 8, and needs a compiler at run time.
"""

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.vision.mask.boundary_tiles import make_grid, pad_cells, tiles_near

AVERAGED_SIDE = 192
"""Cells along the photo's longer side at which colours are averaged."""
FAR, NEAR = 6, 1
"""Cells to either side that are averaged: in the first pass, which must reach what is decided
from anywhere in the band, and in the second, which must follow the colours."""
STRANGER = 1e-4
"""The weight of what does not belong at all: the colour where nothing around belongs."""

Plane = NDArray[np.float32]


def foreground(
    rgb: NDArray[np.uint8], alpha: NDArray[np.uint8], *, in_place: bool = False
) -> NDArray[np.uint8]:
    """uint8 [H,W,3] to be shown with the mask uint8 [H,W]: the photo itself where that is 0 or 255,
    the person's colour without the background's where it is between. `in_place` uses the photo up.
    """
    height, width = alpha.shape
    cells = make_grid((height, width), AVERAGED_SIDE)
    small = cells.downsample(alpha)
    clean = rgb if in_place else rgb.copy()
    # rounded, a cell that is nearly decided looks so; what is beside it says that it is not
    steps = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    between = np.asarray(cv2.max(steps, cv2.inRange(small, 1, 254)), np.uint8)
    if not cv2.hasNonZero(between):
        return clean
    person, behind = _sides(np.asarray(cells.downsample(rgb), np.float32), small)
    padded = pad_cells(person), pad_cells(behind)
    for tile in tiles_near(cells, between):
        sides = (tile.upsample(side) for side in padded)
        own = _own(rgb[tile.pixels], alpha[tile.pixels], *sides)
        cv2.copyTo(own, alpha[tile.pixels], clean[tile.pixels])
    return clean


def _sides(colours: Plane, alpha: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    """The person's colours and those behind, uint8 [h,w,3], around each cell of [h,w,3], [h,w]."""
    share = alpha * np.float32(1 / 255)
    rest = 1 - share
    person, behind = _average(colours, share, FAR), _average(colours, rest, FAR)
    detail = colours - share[..., None] * person - rest[..., None] * behind
    return tuple(
        np.rint(_average(_with(detail, mine, side), mine, NEAR)).astype(np.uint8)
        for side, mine in ((person, share), (behind, rest))
    )


def _with(detail: Plane, share: Plane, side: Plane) -> Plane:
    """A side's colours with its share of the detail, 0..255."""
    return np.clip(side + share[..., None] * detail, 0, 255)


def _average(colours: Plane, share: Plane, reach: int) -> Plane:
    """Of the cells up to `reach` away, those that are sure to belong counting most."""
    weight = share * share + np.float32(STRANGER)
    sums = cv2.blur(np.dstack([colours * weight[..., None], weight]), (2 * reach + 1,) * 2)
    return np.asarray(sums[..., :3] / sums[..., 3:], np.float32)


def _own(
    rgb: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    person: NDArray[np.uint8],
    behind: NDArray[np.uint8],
) -> MatLike:
    """A tile [h,w,3]: the person's average, and what of the pixel both averages do not explain."""
    share = cv2.merge([alpha * np.float32(1 / 255)] * 3)
    apart = cv2.multiply(cv2.subtract(person, behind, dtype=cv2.CV_32F), share)
    detail = cv2.subtract(rgb, cv2.add(apart, behind, dtype=cv2.CV_32F), dtype=cv2.CV_32F)
    return cv2.add(cv2.multiply(detail, share), person, dtype=cv2.CV_8U)
