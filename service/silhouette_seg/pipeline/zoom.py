"""A person who is small in the photo is looked at again, from close by: where, and to what end.

The first look gives the model the whole photo at the model's own size, in which such a person has
few pixels. The second gives it a *window* of the photo around the person. Inside the window the
two masks are made to agree, each counting the more the less grey it is; a soft rim keeps the seam
from showing, and outside nothing changes. training/RESULTS.md tells what that is worth.
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
"""Times the model's sides that a photo is decoded to have at least, where that is enough."""

CROP_MARGIN = 0.5
"""Added on every side, as a share of the person's height and width."""
MAX_ASPECT = 2.0
"""How many times as long as wide a window is at most: photos that the models know are no longer."""
MAX_CROP_SHARE = 0.6
"""Share of the photo from which a window shows little that the first look did not."""
MIN_PIECE_SHARE = 0.05
"""Share of all person pixels under which a piece of the mask does not widen the window."""
BLEND_MARGIN = 1 / 16
"""Of a window's side: the part at its edge within which the first mask gives way."""

BODY_IN_FACES = (0.5, 8.0, 4.0)
"""Faces above the face where a body begins; faces that it is high and wide, seen whole."""

_STRIP_ROWS = 256
"""That are merged at once, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a photo, and perhaps beyond it; sides as shares of the photo's."""

    top: float
    left: float
    height: float
    width: float


def find_crop(alpha: NDArray[np.uint8], face: Face | None, photo_hw: Size) -> Box | None:
    """What of a photo to look at again, in its pixels; None where the first look is enough.

    alpha is the first mask, uint8 [h,w] of any size, of the whole photo. Where it is empty the
    dominant face says where a body must be.
    """
    region = person_region(alpha) or (body_region(face) if face else None)
    if region is None:
        return None
    window = crop_around(region, photo_hw)
    share = window.height * window.width / (photo_hw[0] * photo_hw[1])
    return window if share < MAX_CROP_SHARE else None


def person_region(alpha: NDArray[np.uint8]) -> Region | None:
    """Where the people of a mask are; None in an empty one."""
    boxes = [piece.box for piece in find_pieces(alpha) if piece.share >= MIN_PIECE_SHARE]
    if not boxes:
        return None
    top, left = min(box.top for box in boxes), min(box.left for box in boxes)
    bottom = max(box.top + box.height for box in boxes)
    right = max(box.left + box.width for box in boxes)
    height, width = alpha.shape
    return Region(top / height, left / width, (bottom - top) / height, (right - left) / width)


def body_region(face: Face) -> Region:
    """Where the body of that face is, when all of it is in the photo."""
    above, high, wide = BODY_IN_FACES
    return Region(
        top=face.top - above * face.height,
        left=face.left + face.width / 2 - wide / 2 * face.width,
        height=high * face.height,
        width=wide * face.width,
    )


def crop_around(region: Region, photo_hw: Size) -> Box:
    """The photo's part of the region with its margin, as wide as it must be and moved to lie
    inside the photo.
    """
    middle_row, height = _with_margin(region.top, region.height, photo_hw[0])
    middle_column, width = _with_margin(region.left, region.width, photo_hw[1])
    height, width = max(height, width / MAX_ASPECT), max(width, height / MAX_ASPECT)
    top, rows = _span(middle_row, height, photo_hw[0])
    left, columns = _span(middle_column, width, photo_hw[1])
    return Box(top, left, rows, columns)


def _with_margin(first: float, length: float, end: int) -> tuple[float, float]:
    """Middle and length in pixels of what lies within 0..`end`, with a margin that need not: so a
    person nearly as high as the photo has a window that is wide, too.
    """
    begin, finish = (min(1.0, max(0.0, edge)) for edge in (first, first + length))
    return end * (begin + finish) / 2, end * (finish - begin) * (1 + 2 * CROP_MARGIN)


def _span(middle: float, length: float, end: int) -> tuple[int, int]:
    """First pixel and number of pixels, at least one, of a span within 0..`end`."""
    pixels = min(end, max(1, round(length)))
    return min(end - pixels, max(0, round(middle - pixels / 2))), pixels


def scale_box(window: Box, from_hw: Size, to_hw: Size) -> Box:
    """The same part of the same photo at another size."""
    top, bottom = _edges(window.top, window.height, from_hw[0], to_hw[0])
    left, right = _edges(window.left, window.width, from_hw[1], to_hw[1])
    return Box(top, left, bottom - top, right - left)


def _edges(first: int, length: int, from_side: int, to_side: int) -> tuple[int, int]:
    begin = min(to_side - 1, round(first * to_side / from_side))
    return begin, max(begin + 1, round((first + length) * to_side / from_side))


def crop(rgb: NDArray[np.uint8], window: Box) -> NDArray[np.uint8]:
    """The window's part of uint8 [H,W,3], as a view."""
    return rgb[_rows(window), _columns(window)]


def fuse_log_odds(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What two masks of the same pixels, uint8 [h,w], say together: the mean of their log odds.

    So a pixel of which one is certain and the other is not goes with the certain one. Each mask
    has the weight of the other's greyness: where the window shows the model nothing that it
    knows, its mask is a grey cloud.
    """
    grey, other_grey = _uncertainty(first), _uncertainty(second)
    weight = grey / (grey + other_grey) if grey + other_grey else 0.5
    # a level stands for the middle of its 256th, so that none is certain beyond all doubt
    share = (np.arange(256) + 0.5) / 256
    odds = np.log(share / (1 - share))
    together = (1 - weight) * odds[:, None] + weight * odds
    table = np.rint(256 / (1 + np.exp(-together)) - 0.5).astype(np.uint8)
    return np.asarray(table[first, second])


def _uncertainty(alpha: NDArray[np.uint8]) -> float:
    """How much of the mask is undecided: 0 for a hard one, 1 where no pixel is over a half."""
    levels = np.bincount(alpha.ravel(), minlength=256)
    alphas = np.arange(256)
    total = int(levels @ alphas)
    return int(levels @ np.minimum(alphas, 255 - alphas)) / total if total else 1.0


def blend_into(
    first: NDArray[np.uint8], second: NDArray[np.uint8], window: Box
) -> NDArray[np.uint8]:
    """The first mask uint8 [H,W] with the second in the window's place; neither is changed."""
    height, width = first.shape
    down = _blend_weights(window.height, window.top > 0, window.top + window.height < height)
    across = _blend_weights(window.width, window.left > 0, window.left + window.width < width)
    merged = first.copy()
    inside = merged[_rows(window), _columns(window)]
    for start in range(0, window.height, _STRIP_ROWS):
        rows = slice(start, start + _STRIP_ROWS)
        weight = np.minimum(down[rows, None], across)
        inside[rows] = cv2.blendLinear(second[rows], inside[rows], weight, 1 - weight)
    return merged


def _blend_weights(length: int, from_zero: bool, to_zero: bool) -> NDArray[np.float32]:
    """Weights 0..1 of pixels side by side; ends that are the photo's have no rim."""
    places, rim = np.arange(length) + 0.5, max(1.0, BLEND_MARGIN * length)
    rise = np.minimum(1, places / rim) if from_zero else np.ones(length)
    fall = np.minimum(1, (length - places) / rim) if to_zero else np.ones(length)
    return np.minimum(rise, fall).astype(np.float32)


def _rows(window: Box) -> slice:
    return slice(window.top, window.top + window.height)


def _columns(window: Box) -> slice:
    return slice(window.left, window.left + window.width)
