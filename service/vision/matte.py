"""What is done to an alpha mask (uint8 [H,W], 255 = person), and what can be said about it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from service.vision.blur import gaussian
from service.vision.geometry import shrink

PERSON_OVER = 127
"""A pixel counts as person when its alpha is over this."""

MIN_PERSON_SHARE = 0.001
"""A largest component under this share of the area is noise, not a person."""

MIN_HOLE_SHARE = 0.0001
"""A hole under this share of the area is a speck: 15 pixels of 384x384, 4 of 192x192."""

BOUNDARY_BAND = 2
"""Pixels on either side of the person's outline that `confidence` looks at."""

MAX_EXACT_GROWTH = 32
"""Growing by more pixels than this is done at a reduced size, which bounds its cost."""

_DISC_RADIUS = 3


@dataclass(frozen=True, slots=True)
class Box:
    """Pixels, inside the image."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class MaskQuality:
    """What a caller may judge a mask by without looking at it."""

    coverage: float
    """Share of pixels over 127, 0..1."""
    connectivity: float
    """Share of those that lie in the largest 8-connected component; 0 when there are none."""
    islands: int
    """Number of 8-connected components of pixels over 127, specks included."""
    holes: int
    """Number of 4-connected parts of the background that the person encloses, specks left out.

    What reaches the edge of the picture is not enclosed: an arm akimbo makes a hole, legs that are
    cut by the edge do not.
    """
    confidence: float
    """Mean of |alpha - 127.5| / 127.5 over the pixels within 2 of the outline, 0..1.

    The whole mask when it has no outline; a hard mask has 1, one that is grey everywhere 0.
    """
    foreground: bool
    """Whether the largest component covers at least a thousandth of the area."""


def harden(alpha: NDArray[np.uint8], threshold: float) -> NDArray[np.uint8]:
    """255 where alpha / 255 >= threshold (0..1), else 0."""
    level = int(np.ceil(round(threshold * 255, 6)))
    table = np.where(np.arange(256) >= level, 255, 0).astype(np.uint8)
    return np.asarray(cv2.LUT(alpha, table), np.uint8)


def grow(alpha: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """Moves the outline outwards by `pixels`, inwards when negative, with rounded corners."""
    radius = abs(pixels)
    if radius <= MAX_EXACT_GROWTH:
        return _grow(alpha, radius, outwards=pixels > 0)
    factor = radius / MAX_EXACT_GROWTH
    height, width = alpha.shape
    small = shrink(alpha, (max(1, round(height / factor)), max(1, round(width / factor))))
    grown = _grow(small, MAX_EXACT_GROWTH, outwards=pixels > 0)
    return np.asarray(cv2.resize(grown, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _grow(alpha: NDArray[np.uint8], radius: int, *, outwards: bool) -> NDArray[np.uint8]:
    """Discs add up: growing by 3 and then by 2 is growing by 5, and cheaper than at once."""
    step = cv2.dilate if outwards else cv2.erode
    grown = alpha.copy()
    while radius > 0:
        disc = min(radius, _DISC_RADIUS)
        grown = np.asarray(step(grown, _disc(disc)), np.uint8)
        radius -= disc
    return grown


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def feather(alpha: NDArray[np.uint8], pixels: float) -> NDArray[np.uint8]:
    """Softens the outline into a ramp that reaches about `pixels` (>= 0) to either side."""
    return gaussian(alpha, pixels / 2)


def bounding_box(alpha: NDArray[np.uint8]) -> Box | None:
    """The smallest box around all pixels over 127; None when there are none."""
    left, top, width, height = cv2.boundingRect(person_pixels(alpha))
    return Box(top, left, height, width) if width else None


def quality(alpha: NDArray[np.uint8]) -> MaskQuality:
    """Measures a mask, best at the model's own resolution: cheap, and free of resize blur."""
    person = person_pixels(alpha)
    areas = _components(person, connectivity=8)[:, cv2.CC_STAT_AREA]
    total, largest = int(areas.sum()), int(areas.max(initial=0))
    return MaskQuality(
        coverage=total / alpha.size,
        connectivity=largest / total if total else 0.0,
        islands=len(areas),
        holes=_holes(person),
        confidence=_confidence(alpha, person),
        foreground=total > 0 and largest >= MIN_PERSON_SHARE * alpha.size,
    )


def _components(mask: NDArray[np.uint8], *, connectivity: int) -> NDArray[np.int32]:
    """OpenCV's statistics of what is not 0, a row for each component."""
    height, width = mask.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    most = rows * columns if connectivity == 8 else 2 * rows * columns
    # 16 bits take half the time, where they can number every component there could be
    labels = cv2.CV_16U if most <= np.iinfo(np.uint16).max else cv2.CV_32S
    stats = cv2.connectedComponentsWithStats(mask, connectivity=connectivity, ltype=labels)[2]
    return np.asarray(stats[1:], np.int32)


def _holes(person: NDArray[np.uint8]) -> int:
    """No background outside the person's box is enclosed, nor what reaches the box's sides."""
    left, top, width, height = cv2.boundingRect(person)
    if not width:
        return 0
    inside = cv2.bitwise_not(person[top : top + height, left : left + width])
    found = _components(np.asarray(inside, np.uint8), connectivity=4)
    first = found[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]]
    last = first + found[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    enclosed = (first > 0).all(axis=1) & (last < (width, height)).all(axis=1)
    large = found[:, cv2.CC_STAT_AREA] >= MIN_HOLE_SHARE * person.size
    return int(np.count_nonzero(enclosed & large))


def only_person(alpha: NDArray[np.uint8], measured: MaskQuality) -> NDArray[np.uint8]:
    """The mask as it is, or an empty one when what was measured is noise and not a person."""
    return alpha if measured.foreground else np.zeros_like(alpha)


def _confidence(alpha: NDArray[np.uint8], person: NDArray[np.uint8]) -> float:
    near = np.ones((2 * BOUNDARY_BAND + 1, 2 * BOUNDARY_BAND + 1), np.uint8)
    band = cv2.morphologyEx(person, cv2.MORPH_GRADIENT, near) > 0
    decided = alpha[band] if band.any() else alpha.ravel()
    return float(np.abs(decided.astype(np.float32) - 127.5).mean() / 127.5)


def person_pixels(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """255 where the alpha is over 127, else 0."""
    return np.asarray(cv2.threshold(alpha, PERSON_OVER, 255, cv2.THRESH_BINARY)[1], np.uint8)
