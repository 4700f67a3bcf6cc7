"""Encodes masks as COCO annotations do: run lengths or polygons.

Run lengths count pixels column by column, first background, then person, and so on. Their
compressed form is that of pycocotools, five bits a character. Source: Lin et al., "Microsoft COCO:
Common Objects in Context", 2014, and `maskApi.c` of its API.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.errors import UnprocessableImage
from silhouette_seg.vision.geometry import Size, resize
from silhouette_seg.vision.mask.quality import Box, person_pixels

MAX_RUNS = 200_000
"""Maximum number of runs of one mask, about ten times those of a person in 64 million pixels."""
MAX_HOLES = 1000
"""Maximum number of holes of one mask in polygons."""
MAX_TRACED_SIDE = 4096
"""Longer side, in pixels, at which an outline is traced. A longer mask is reduced first."""
TOLERANCE = 0.02
"""Maximum area that polygons may gain and lose by their simplification, relative to the mask's."""
MAX_DEVIATION = 1.0
"""Maximum distance, in pixels of the traced mask, of a simplified outline from the exact one."""

_BITS, _MORE, _FIRST_CHARACTER = 5, 0x20, 48
_MAX_CHARACTERS = 7
"""Characters of a number of 32 bits in compressed run lengths."""
_NEXT, _CHILD, _PARENT = 0, 2, 3
"""Columns of OpenCV's contour hierarchy."""

Polygon = list[float]
"""Corners of a polygon as a flat list x1, y1, x2, y2, ... in pixels."""


def encode_rle(part: NDArray[np.uint8], box: Box, photo_hw: Size) -> str:
    """Returns the compressed run lengths of a mask of (height, width) `photo_hw`.

    `part`, uint8 [h,w], is the rectangle `box` of the mask, which is 0 elsewhere. Pixels over 0 are
    person. Raises UnprocessableImage for more than `MAX_RUNS`.
    """
    return compress(run_lengths(part, box, photo_hw))


def run_lengths(part: NDArray[np.uint8], box: Box, photo_hw: Size) -> NDArray[np.int64]:
    """Returns the run lengths of a mask, int64 [n]; arguments and errors are of `encode_rle`."""
    height, width = photo_hw
    columns = np.pad(part.T > 0, ((0, 0), (1, 1)))
    edges = columns[:, 1:] != columns[:, :-1]
    runs = int(np.count_nonzero(edges))
    if runs > MAX_RUNS:
        raise UnprocessableImage(
            "The mask has too many edges for JSON.", limit=MAX_RUNS, actual=runs
        )
    column, row = np.nonzero(edges)
    positions = (column + box.left) * height + row + box.top
    # A run that ends at the lower edge of the photo continues at the top of the next column.
    joined = np.flatnonzero(positions[1:] == positions[:-1])
    positions = np.delete(positions, np.concatenate([joined, joined + 1]))
    lengths = np.diff(positions, prepend=0, append=height * width)
    return lengths if lengths[-1] or len(lengths) == 1 else lengths[:-1]


def compress(lengths: NDArray[np.int64]) -> str:
    """Returns run lengths, int64 [n], in the compressed form of pycocotools.

    From the fourth on, a length is stored as its difference to the one before the last.
    """
    rest = lengths.copy()
    rest[3:] -= lengths[1:-2]
    characters = np.zeros((len(rest), _MAX_CHARACTERS), np.uint8)
    used = np.zeros(characters.shape, np.bool_)
    more = np.ones(len(rest), np.bool_)
    for digit in range(_MAX_CHARACTERS):
        used[:, digit] = more
        low = rest & 31
        rest >>= _BITS
        more = more & np.where(low & 16, rest != -1, rest != 0)
        characters[:, digit] = low + _MORE * more + _FIRST_CHARACTER
    return characters[used].tobytes().decode("ascii")


def to_polygons(part: NDArray[np.uint8], box: Box) -> list[Polygon]:
    """Returns polygons along the pixel edges of a mask, one for each 8-connected component.

    The largest comes first. The arguments are those of `encode_rle`. COCO's polygons have no holes.
    So each polygon leads from its outer edge to every hole and back, over a line of no width.
    Filled by the even-odd rule, as pycocotools does, they show the mask. `TOLERANCE` is the share
    that may differ. Raises UnprocessableImage for more than `MAX_RUNS` or `MAX_HOLES`.
    """
    height, width = part.shape
    scale = min(1.0, MAX_TRACED_SIDE / max(height, width))
    traced = max(1, round(height * scale)), max(1, round(width * scale))
    small = part if scale == 1 else person_pixels(resize(part, traced))
    run_lengths(small, Box(0, 0, *traced), traced)  # it checks their number
    loops, hierarchy = _trace(small)
    tolerance = _tolerance(small, loops)
    corners = [_simplify(loop, tolerance) for loop in loops]
    factors = np.array([width / traced[1], height / traced[0]])
    offset = np.array([box.left, box.top])
    outer = [
        index
        for index, corner in enumerate(corners)
        if hierarchy[index, _PARENT] < 0 and len(corner) > 2
    ]
    outer.sort(key=lambda index: -cv2.contourArea(corners[index]))
    return [
        np.round(_with_holes(corners, hierarchy, index) * factors + offset, 2).ravel().tolist()
        for index in outer
    ]


def _trace(mask: NDArray[np.uint8]) -> tuple[list[NDArray[np.int32]], NDArray[np.int32]]:
    """Returns the edges of all components and holes of a mask, [N,1,2] each as (x, y) of corners.

    The second result is OpenCV's hierarchy, [K,4]. OpenCV traces the middles of pixels. At twice
    the size, the middle of an outer pixel is a quarter of a pixel inside the edge. So rounding away
    from the pixel's middle gives the edge.
    """
    height, width = mask.shape
    twice = cv2.resize(mask, (2 * width, 2 * height), interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(twice, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    loops = [np.asarray((contour + 1) // 2, np.int32) for contour in contours]
    none = np.empty((0, 4), np.int32)
    return loops, none if hierarchy is None else np.asarray(hierarchy[0], np.int32)


def _tolerance(mask: NDArray[np.uint8], loops: list[NDArray[np.int32]]) -> float:
    """Returns the deviation, in pixels, at which the simplified outlines keep to `TOLERANCE`.

    An outline that moves by at most this distance changes at most its length times it in area.
    """
    length = sum(cv2.arcLength(loop, closed=True) for loop in loops)
    return min(MAX_DEVIATION, TOLERANCE * cv2.countNonZero(mask) / max(1.0, length))


def _simplify(loop: NDArray[np.int32], tolerance: float) -> NDArray[np.int32]:
    """Returns the corners, [n,2], of a loop [N,1,2] that deviates by at most `tolerance` pixels."""
    return np.asarray(cv2.approxPolyDP(loop, tolerance, closed=True)[:, 0], np.int32)


def _with_holes(
    corners: list[NDArray[np.int32]], hierarchy: NDArray[np.int32], index: int
) -> NDArray[np.int32]:
    """Returns the corners, [n,2], of one polygon: an outer edge with the holes inside it."""
    polygon = corners[index]
    hole = int(hierarchy[index, _CHILD])
    holes = 0
    while hole >= 0:
        holes += 1
        if holes > MAX_HOLES:
            raise UnprocessableImage(
                "The mask has too many holes for polygons; masks=rle has no such limit.",
                limit=MAX_HOLES,
                actual=holes,
            )
        inner = corners[hole]
        nearest = int(np.abs(polygon - inner[0]).sum(axis=1).argmin())
        bridge = [polygon[: nearest + 1], inner, inner[:1], polygon[nearest:]]
        polygon = np.concatenate(bridge)
        hole = int(hierarchy[hole, _NEXT])
    return polygon
