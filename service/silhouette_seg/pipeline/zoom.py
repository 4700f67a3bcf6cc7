"""Zooms in on a small person: finds the crop to predict again, and fuses both masks.

The first pass gives the model the whole photo at the model's own size. A small person has few
pixels there. The second pass gives it a *crop* of the photo around the person. Inside the crop the
log odds of both masks are averaged, and the less uncertain mask counts more. A soft margin hides
the seam. Outside the crop nothing changes. training/RESULTS.md has the measured gain.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.pipeline.faces import Face
from silhouette_seg.vision.geometry import Size
from silhouette_seg.vision.mask.person_selection import find_pieces
from silhouette_seg.vision.mask.quality import Box

ZOOM_FACTOR = 3
"""Minimum sides of a decoded photo, as a multiple of the model input's, if a zoom is possible."""

CROP_MARGIN = 0.5
"""Margin of a crop on every side, as a share of the person's height and width."""
MAX_ASPECT = 2.0
"""Maximum ratio of a crop's longer side to its shorter side, as in the models' training photos."""
MAX_CROP_SHARE = 0.6
"""Share of the photo's area from which a crop is not predicted, because it would add little."""
MIN_PIECE_SHARE = 0.05
"""Minimum share of the mask's person pixels in a connected piece for the crop to include it."""
BLEND_MARGIN = 1 / 16
"""Width of a crop's soft margin, relative to its side.

The second mask replaces the first gradually there.
"""

BODY_IN_FACES = (0.5, 8.0, 4.0)
"""Estimated size of a whole body, in face sizes: start above the face, height, and width."""

_STRIP_ROWS = 256
"""Rows of the masks that are blended at once, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a photo that may extend beyond it.

    `top` and `height` are relative to the photo's height, `left` and `width` to its width.
    """

    top: float
    left: float
    height: float
    width: float


def find_crop(alpha: NDArray[np.uint8], face: Face | None, photo_hw: Size) -> Box | None:
    """Returns the part of a photo to predict again, in pixels of the photo of size `photo_hw`.

    The result is None if the first pass suffices. `alpha` is the first mask of the whole photo,
    uint8 [h,w] of any size. If it has no person, the dominant face, unless None, locates the body.
    """
    region = person_region(alpha) or (body_region(face) if face else None)
    if region is None:
        return None
    box = crop_around(region, photo_hw)
    share = box.height * box.width / (photo_hw[0] * photo_hw[1])
    return box if share < MAX_CROP_SHARE else None


def person_region(alpha: NDArray[np.uint8]) -> Region | None:
    """Returns the region of all people in a mask, uint8 [h,w]; None if it has no person.

    Pieces of the mask with less than MIN_PIECE_SHARE of the person pixels are left out.
    """
    boxes = [piece.box for piece in find_pieces(alpha) if piece.share >= MIN_PIECE_SHARE]
    if not boxes:
        return None
    top, left = min(box.top for box in boxes), min(box.left for box in boxes)
    bottom = max(box.top + box.height for box in boxes)
    right = max(box.left + box.width for box in boxes)
    height, width = alpha.shape
    return Region(top / height, left / width, (bottom - top) / height, (right - left) / width)


def body_region(face: Face) -> Region:
    """Estimates the region of the whole body from the box of the face."""
    above, height, width = BODY_IN_FACES
    return Region(
        top=face.top - above * face.height,
        left=face.left + face.width / 2 - width / 2 * face.width,
        height=height * face.height,
        width=width * face.width,
    )


def crop_around(region: Region, photo_hw: Size) -> Box:
    """Returns the box of a region and its margin, in pixels of a photo of size `photo_hw`.

    The shorter side is extended until the aspect ratio is at most `MAX_ASPECT`. The box is then
    moved into the photo.
    """
    centre_row, height = _with_margin(region.top, region.height, photo_hw[0])
    centre_column, width = _with_margin(region.left, region.width, photo_hw[1])
    height, width = max(height, width / MAX_ASPECT), max(width, height / MAX_ASPECT)
    top, rows = _span(centre_row, height, photo_hw[0])
    left, columns = _span(centre_column, width, photo_hw[1])
    return Box(top, left, rows, columns)


def _with_margin(first: float, length: float, end: int) -> tuple[float, float]:
    """Returns centre and length, in pixels, of one side of a region, with its margin.

    `first` and `length` are relative to the photo's side of `end` pixels. Only the part inside the
    photo counts. The margin may exceed the photo, so that a person nearly as high as the photo gets
    a wide crop.
    """
    start, stop = (min(1.0, max(0.0, edge)) for edge in (first, first + length))
    return end * (start + stop) / 2, end * (stop - start) * (1 + 2 * CROP_MARGIN)


def _span(centre: float, length: float, end: int) -> tuple[int, int]:
    """Returns the first pixel and the number of pixels, at least one, of one side of a box.

    `centre` and `length` are in pixels. The span is moved into the photo's side of `end` pixels.
    """
    pixels = min(end, max(1, round(length)))
    return min(end - pixels, max(0, round(centre - pixels / 2))), pixels


def scale_box(box: Box, from_hw: Size, to_hw: Size) -> Box:
    """Converts a box from pixels of a photo at size `from_hw` to pixels of it at size `to_hw`."""
    top, bottom = _scale_edges(box.top, box.height, from_hw[0], to_hw[0])
    left, right = _scale_edges(box.left, box.width, from_hw[1], to_hw[1])
    return Box(top, left, bottom - top, right - left)


def _scale_edges(first: int, length: int, from_side: int, to_side: int) -> tuple[int, int]:
    start = min(to_side - 1, round(first * to_side / from_side))
    return start, max(start + 1, round((first + length) * to_side / from_side))


def crop(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Returns the part of an image, uint8 [H,W] or [H,W,3], inside a box, as a view."""
    return image[_rows(box), _columns(box)]


def fuse_log_odds(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fuses two masks of the same pixels, uint8 [h,w], by the weighted mean of their log odds.

    Returns uint8 [h,w]. A pixel that only one mask is certain of goes with that mask. The weight of
    each mask is the uncertainty of the other. If the model knows nothing of the crop's content, its
    mask of the crop is grey all over and counts little.
    """
    uncertainty, other = _uncertainty(first), _uncertainty(second)
    weight = uncertainty / (uncertainty + other) if uncertainty + other else 0.5
    # A level stands for the middle of its 256th, so that no level has infinite log odds.
    share = (np.arange(256) + 0.5) / 256
    log_odds = np.log(share / (1 - share))
    fused = (1 - weight) * log_odds[:, None] + weight * log_odds
    table = np.rint(256 / (1 + np.exp(-fused)) - 0.5).astype(np.uint8)
    return np.asarray(table[first, second])


def _uncertainty(alpha: NDArray[np.uint8]) -> float:
    """Returns the uncertainty of a mask, uint8 [h,w], 0..1.

    It is 0 for a hard mask and 1 if no pixel is over one half.
    """
    counts = np.bincount(alpha.ravel(), minlength=256)
    levels = np.arange(256)
    total = int(counts @ levels)
    return int(counts @ np.minimum(levels, 255 - levels)) / total if total else 1.0


def blend_into(first: NDArray[np.uint8], second: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Returns a copy of the mask `first`, uint8 [H,W], with the mask `second` blended into `box`.

    `second` is uint8 [box.height,box.width]. Its weight rises from 0 to 1 over a margin inside the
    box, except at edges of the photo.
    """
    height, width = first.shape
    down = _blend_weights(box.height, box.top > 0, box.top + box.height < height)
    across = _blend_weights(box.width, box.left > 0, box.left + box.width < width)
    blended = first.copy()
    inside = blended[_rows(box), _columns(box)]
    for start in range(0, box.height, _STRIP_ROWS):
        rows = slice(start, start + _STRIP_ROWS)
        weight = np.minimum(down[rows, None], across)
        inside[rows] = cv2.blendLinear(second[rows], inside[rows], weight, 1 - weight)
    return blended


def _blend_weights(length: int, rises: bool, falls: bool) -> NDArray[np.float32]:
    """Returns the weights of a crop's mask along one side of the crop, float32 [length], 0..1.

    They rise from 0 at the start if `rises`, and fall to 0 at the end if `falls`. An edge of the
    crop on the edge of the photo has no margin.
    """
    places, margin = np.arange(length) + 0.5, max(1.0, BLEND_MARGIN * length)
    rise = np.minimum(1, places / margin) if rises else np.ones(length)
    fall = np.minimum(1, (length - places) / margin) if falls else np.ones(length)
    return np.minimum(rise, fall).astype(np.float32)


def _rows(box: Box) -> slice:
    return slice(box.top, box.top + box.height)


def _columns(box: Box) -> slice:
    return slice(box.left, box.left + box.width)
