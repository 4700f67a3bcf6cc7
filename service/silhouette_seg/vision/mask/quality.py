"""What is done to an alpha mask (uint8 [H,W], 255 = person), and what can be said about it."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.blur import gaussian
from silhouette_seg.vision.geometry import resize

MASK_THRESHOLD = 127
"""A pixel counts as person when its alpha is over this."""

MIN_PERSON_SHARE = 0.001
"""A largest component under this share of the area is noise, not a person."""
PERSON_SHARE = 0.01
"""A largest component of this share is a person; what is between the two has to be decided."""
PERSON_CERTAINTY = 0.38
"""How decided the boundary of so small a person is; what models imagine has a soft outline.

Both by `python -m training.calibrate`. On the training split they spare connectnet, md_trisenet and
rcrnet 28, 59 and 32 % of their alarms on scenes without a person; of 359 photos of people they
lose 2, 0 and 1 in all, whose masks were of no use (IoU under 0.5). Stricter ones would spare more
and lose no mask of use there, but hardly any of those photos shows people so small.
"""

CALIBRATION = (0.43, 0.57)
"""Height and slope of the line from `decided` to what share of the boundary band is right.

By `python -m training.calibrate`, which draws it through 359 photos of the training split as three
models see them; their own lines are within 0.05 of it where `decided` is over a half.
"""

MIN_HOLE_SHARE = 0.0001
"""A hole under this share of the area is a speck: 20 pixels of 448x448, 4 of 192x192."""

BOUNDARY_RADIUS = 2
"""Pixels on either side of the person's outline that `confidence` looks at."""

MAX_EXACT_GROW_PIXELS = 32
"""Growing by more pixels than this is done at a reduced size, which bounds its cost."""

_DISC_RADIUS = 3

_PARENT_COLUMN = 3
"""The column of OpenCV's tree of contours that names the outer one."""

_CERTAINTY = np.abs(2 * np.arange(256) - 255).astype(np.uint8)
"""By alpha, 0..255: |alpha - 127.5| / 127.5."""


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
    boundary_certainty: float
    """Mean of |alpha - 127.5| / 127.5 over the boundary band, 0..1.

    Over the whole mask when it has no outline; a hard mask has 1, one that is grey everywhere 0.
    """

    @property
    def confidence(self) -> float:
        """The share of the boundary band, 0..1, that is expected to be on the right side.

        The band is the pixels within 2 of the outline, at the size that was measured. An outline
        drawn at random has half of its band right, and none is expected to have less; one that is
        a pixel off everywhere has three quarters. It says nothing of a person who was overlooked,
        nor of a thing that was surely taken for one. Where the mask has no outline it is the same
        line through how decided the whole mask is.
        """
        height, slope = CALIBRATION
        return min(1.0, max(0.5, height + slope * self.boundary_certainty))

    @property
    def largest_share(self) -> float:
        """Share of the area that the largest component covers, 0..1."""
        return self.coverage * self.connectivity

    @property
    def foreground(self) -> bool:
        """Whether the largest component is a person and not noise."""
        return is_person(self)


def binarise(alpha: NDArray[np.uint8], threshold: float) -> NDArray[np.uint8]:
    """255 where alpha / 255 >= threshold (0..1), else 0."""
    level = int(np.ceil(round(threshold * 255, 6)))
    table = np.where(np.arange(256) >= level, 255, 0).astype(np.uint8)
    return np.asarray(cv2.LUT(alpha, table), np.uint8)


def grow(alpha: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """Moves the outline outwards by `pixels`, inwards when negative, with rounded corners."""
    radius = abs(pixels)
    if radius <= MAX_EXACT_GROW_PIXELS:
        return _grow(alpha, radius, outwards=pixels > 0)
    factor = radius / MAX_EXACT_GROW_PIXELS
    height, width = alpha.shape
    small = resize(alpha, (max(1, round(height / factor)), max(1, round(width / factor))))
    grown = _grow(small, MAX_EXACT_GROW_PIXELS, outwards=pixels > 0)
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


def measure_quality(alpha: NDArray[np.uint8]) -> MaskQuality:
    """Measures a mask, best at the model's own resolution: cheap, and free of resize blur."""
    person = person_pixels(alpha)
    areas = _component_areas(person)
    total, largest = int(areas.sum()), int(areas.max(initial=0))
    return MaskQuality(
        coverage=total / alpha.size,
        connectivity=largest / total if total else 0.0,
        islands=len(areas),
        holes=_count_holes(person),
        boundary_certainty=_mean_certainty(alpha, boundary_band(person)),
    )


def is_person(
    measured: MaskQuality,
    person_share: float = PERSON_SHARE,
    person_certainty: float = PERSON_CERTAINTY,
) -> bool:
    """Whether the largest component is: a small one only if its outline is decided."""
    sure = measured.largest_share >= person_share or measured.boundary_certainty >= person_certainty
    return measured.largest_share >= MIN_PERSON_SHARE and sure


def boundary_band(person: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """255 within `BOUNDARY_BAND` pixels of the outline of `person_pixels`, else 0."""
    near = np.ones((2 * BOUNDARY_RADIUS + 1, 2 * BOUNDARY_RADIUS + 1), np.uint8)
    return np.asarray(cv2.morphologyEx(person, cv2.MORPH_GRADIENT, near), np.uint8)


def _mean_certainty(alpha: NDArray[np.uint8], band: NDArray[np.uint8]) -> float:
    """0..1, where the band is not 0; everywhere when it is empty."""
    decided = np.asarray(cv2.LUT(alpha, _CERTAINTY), np.uint8)
    mean = cv2.mean(decided, band if band.any() else None)[0]
    return min(1.0, float(mean) / 255)  # a mean of ones may round to more


def _component_areas(person: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Of each 8-connected component of what is not 0."""
    height, width = person.shape
    # 16 bits take half the time, where they can number every component there could be
    most = ((height + 1) // 2) * ((width + 1) // 2)
    ltype = cv2.CV_16U if most <= np.iinfo(np.uint16).max else cv2.CV_32S
    _, _, stats, _ = cv2.connectedComponentsWithStats(person, connectivity=8, ltype=ltype)
    return np.asarray(stats[1:, cv2.CC_STAT_AREA], np.int32)


def _count_holes(person: NDArray[np.uint8]) -> int:
    """Inner contours, which are far cheaper to find than the components of the background."""
    contours, tree = cv2.findContours(person, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return 0
    least = MIN_HOLE_SHARE * person.size
    inner = np.flatnonzero(np.asarray(tree)[0, :, _PARENT_COLUMN] >= 0).tolist()
    return sum(_enclosed_pixels(contours[place]) >= least for place in inner)


def _enclosed_pixels(contour: NDArray[Any]) -> float:
    """Pixels inside a contour of neighbouring pixels [N,1,2], by Pick's theorem."""
    return cv2.contourArea(contour) - len(contour) / 2 + 1


def empty_if_noise(alpha: NDArray[np.uint8], measured: MaskQuality) -> NDArray[np.uint8]:
    """The mask as it is, or an empty one when what was measured is noise and not a person."""
    return alpha if measured.foreground else np.zeros_like(alpha)


def person_pixels(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """255 where the alpha is over 127, else 0."""
    return np.asarray(cv2.threshold(alpha, MASK_THRESHOLD, 255, cv2.THRESH_BINARY)[1], np.uint8)
