"""Estimates the foreground colour of pixels that mix the person with the background.

The method is blur-fusion (Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021). The
colour of each side is an average over nearby pixels, weighted by how much they belong to that
side. The remainder of a pixel is detail of its side. A second pass with a smaller radius averages
the colours that the first has cleaned. Here both passes run at a reduced size, with weights that
prefer pixels that certainly belong. Only pixels with an alpha between 0 and 255 change.

pymatting's multi-level estimate (Germer et al. 2020) was not chosen because of its cost. It was
compared on 32 composites of known colours, of training photos and of cut-outs. Its error was 5.6
and 3.9 levels, that of this module 6.1 and 5.6, that of the photo itself 14.8 and 16.0. With a mask
softer than the true one the errors were 8.0 and 5.1 against 7.1 and 5.8. It took 148 ms of
processor time at 1280x720 instead of 8, and it needs a compiler at run time.
"""

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.vision.mask.boundary_tiles import make_grid, pad_cells, tiles_near

AVERAGED_SIDE = 192
"""Cells along the longer side of the photo. Colours are averaged over cells."""
FIRST_RADIUS, SECOND_RADIUS = 6, 1
"""Radius of the averages of both passes, in cells. The first must reach certain pixels from
anywhere in the uncertain band; the second must follow the colours."""
MIN_WEIGHT = 1e-4
"""Weight of a pixel of the other side. It decides the colour where no pixel nearby belongs."""

Plane = NDArray[np.float32]


def estimate_foreground(
    rgb: NDArray[np.uint8], alpha: NDArray[np.uint8], *, in_place: bool = False
) -> NDArray[np.uint8]:
    """Returns the uint8 [H,W,3] foreground of a photo for the alpha mask uint8 [H,W].

    Pixels are unchanged where alpha is 0 or 255. Elsewhere they get the person's colour without
    that of the background. `in_place` overwrites the photo.
    """
    height, width = alpha.shape
    cells = make_grid((height, width), AVERAGED_SIDE)
    small = cells.downsample(alpha)
    clean = rgb if in_place else rgb.copy()
    # A nearly certain cell rounds to 0 or 255; the gradient to its neighbours still shows it.
    steps = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    between = np.asarray(cv2.max(steps, cv2.inRange(small, 1, 254)), np.uint8)
    if not cv2.hasNonZero(between):
        return clean
    person, behind = _sides(np.asarray(cells.downsample(rgb), np.float32), small)
    padded = pad_cells(person), pad_cells(behind)
    for tile in tiles_near(cells, between):
        sides = (tile.upsample(side) for side in padded)
        own = _foreground_tile(rgb[tile.pixels], alpha[tile.pixels], *sides)
        cv2.copyTo(own, alpha[tile.pixels], clean[tile.pixels])
    return clean


def _sides(colours: Plane, alpha: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    """Returns foreground and background uint8 [h,w,3] around each cell of [h,w,3] and [h,w]."""
    share = alpha * np.float32(1 / 255)
    rest = 1 - share
    person, behind = _average(colours, share, FIRST_RADIUS), _average(colours, rest, FIRST_RADIUS)
    detail = colours - share[..., None] * person - rest[..., None] * behind
    return tuple(
        np.rint(_average(_add_detail(detail, own, side), own, SECOND_RADIUS)).astype(np.uint8)
        for side, own in ((person, share), (behind, rest))
    )


def _add_detail(detail: Plane, share: Plane, side: Plane) -> Plane:
    """Adds a side's share of the detail to its colours, 0..255."""
    return np.clip(side + share[..., None] * detail, 0, 255)


def _average(colours: Plane, share: Plane, radius: int) -> Plane:
    """Averages the cells up to `radius` away; certain cells have the largest weights."""
    weight = share * share + np.float32(MIN_WEIGHT)
    sums = cv2.blur(np.dstack([colours * weight[..., None], weight]), (2 * radius + 1,) * 2)
    return np.asarray(sums[..., :3] / sums[..., 3:], np.float32)


def _foreground_tile(
    rgb: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    person: NDArray[np.uint8],
    behind: NDArray[np.uint8],
) -> MatLike:
    """Returns a tile [h,w,3]: the foreground average plus the detail that no average explains."""
    share = cv2.merge([alpha * np.float32(1 / 255)] * 3)
    apart = cv2.multiply(cv2.subtract(person, behind, dtype=cv2.CV_32F), share)
    detail = cv2.subtract(rgb, cv2.add(apart, behind, dtype=cv2.CV_32F), dtype=cv2.CV_32F)
    return cv2.add(cv2.multiply(detail, share), person, dtype=cv2.CV_8U)
