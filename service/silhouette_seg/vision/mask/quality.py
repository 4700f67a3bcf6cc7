"""Edits an alpha mask, uint8 [H,W] with 255 = person, and measures its quality."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.blur import gaussian
from silhouette_seg.vision.geometry import Size, resize

MASK_THRESHOLD = 127
"""Alpha of 0..255 above which a pixel counts as person."""

MIN_PERSON_SHARE = 0.001
"""Minimum share of the mask that its largest component covers; a smaller one is noise."""
PERSON_SHARE = 0.01
"""Share of the mask from which a largest component is a person even with a soft outline.

Between `MIN_PERSON_SHARE` and this share it is a person only if its outline is certain enough.
"""
PERSON_CERTAINTY = 0.38
"""Minimum boundary certainty, 0..1, of a person that covers less than `PERSON_SHARE`.

Hallucinated components have soft outlines. This value and `PERSON_SHARE` come from
`python -m training.calibrate`. On the training split they spare connectnet, md_trisenet and rcrnet
28, 59 and 32 % of their alarms on scenes without a person. Of 359 photos of people they lose 2, 0
and 1, all with useless masks (IoU under 0.5). Stricter values would spare more alarms and lose no
useful mask there. But hardly any of those photos shows people so small.
"""

MIN_PERSON_CERTAINTY = 0.1
"""Minimum boundary certainty, 0..1, of a person of any size.

The unet sees a grey haze just over one half in dark or plain pictures. On the training split this
value spares it 33 of 283 alarms on scenes without a person. It loses none of 664 photos of people.
A value of 0.15 would lose useful masks of md_trisenet.
"""

CALIBRATION = (0.43, 0.57)
"""Intercept and slope of the line from `boundary_certainty` to `confidence`.

The confidence is the correct share of the pixels in the boundary band. The line comes from
`python -m training.calibrate`, fitted to 359 photos of the training split as three models predict
them. The line of each model alone is within 0.05 of it for a certainty over one half.
"""

DOUBTFUL_CONFIDENCE = 0.65
"""Confidence under which a person that was found is doubtful: it may be an animal or an object.

On the training split unet finds people in 174 of 1,343 scenes without one. Of these, 40 % are below
it. Of 1,405 photos of people, 5 % are.
"""

MIN_HOLE_SHARE = 0.0001
"""Minimum share of the mask that a hole covers: 20 pixels of 448x448, 4 of 192x192."""

BOUNDARY_RADIUS = 2
"""Pixels on either side of the person's outline that belong to the boundary band."""

MAX_EXACT_GROW_PIXELS = 32
"""Largest growth, in pixels, that is computed at full size.

A larger one is computed at a reduced size, which bounds its cost.
"""

_DISC_RADIUS = 3

_PARENT_COLUMN = 3
"""Column of OpenCV's contour hierarchy that holds the index of the enclosing contour."""

_CERTAINTY = np.abs(2 * np.arange(256) - 255).astype(np.uint8)
"""Lookup table, uint8 [256]: certainty |alpha - 127.5| / 127.5 of each alpha level, times 255."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of an image: its upper left corner and its size."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class MaskQuality:
    """Measures of a mask's quality that need no reference mask."""

    coverage: float
    """Share of the mask's pixels with an alpha over 127, 0..1."""
    connectivity: float
    """Share of the pixels over 127 in their largest 8-connected component; 0 if there are none."""
    piece_count: int
    """Number of 8-connected components of the pixels over 127, specks included."""
    holes: int
    """Number of 4-connected parts of the background that the person encloses.

    Parts smaller than MIN_HOLE_SHARE are not counted. A part that reaches the edge of the photo is
    not enclosed. An arm akimbo makes a hole; legs that are cut by the edge do not.
    """
    boundary_certainty: float
    """Mean of |alpha - 127.5| / 127.5 over the boundary band, 0..1.

    The band is the pixels within BOUNDARY_RADIUS of the outline. If there is no outline it is the
    mean over the whole mask. A hard mask has 1, a mask that is mid-grey everywhere has 0.
    """

    size_hw: Size = field(default=(0, 0), compare=False)
    """(height, width) of the measured mask in pixels."""

    @property
    def has_outline(self) -> bool:
        """True if the mask has pixels on either side of an alpha of 127.5."""
        return 0 < self.coverage < 1

    @property
    def confidence(self) -> float | None:
        """Expected share of correct pixels in the boundary band, 0.5..1; None without an outline.

        The band is the pixels within 2 of the outline, at the size at which the mask was measured.
        An outline drawn at random has one half of its band correct, so 0.5 is chance. An outline
        that is a pixel off everywhere has three quarters correct. The value says nothing about an
        overlooked person, nor about an object mistaken for one with certainty.
        """
        return expected_accuracy(self.boundary_certainty) if self.has_outline else None

    @property
    def largest_share(self) -> float:
        """Share of the mask that its largest component covers, 0..1."""
        return self.coverage * self.connectivity

    @property
    def foreground(self) -> bool:
        """True if the largest component of the mask is a person and not noise."""
        return is_person(self)

    @property
    def doubtful(self) -> bool:
        """True if a person was found with a confidence under `DOUBTFUL_CONFIDENCE`.

        For a person that fills the mask, the certainty of the whole mask counts.
        """
        return self.foreground and expected_accuracy(self.boundary_certainty) < DOUBTFUL_CONFIDENCE


def expected_accuracy(boundary_certainty: float) -> float:
    """Returns the confidence, 0.5..1, that belongs to a boundary certainty, 0..1."""
    intercept, slope = CALIBRATION
    return min(1.0, max(0.5, intercept + slope * boundary_certainty))


def binarise(alpha: NDArray[np.uint8], threshold: float) -> NDArray[np.uint8]:
    """Returns a hard mask, uint8 [H,W]: 255 where alpha / 255 >= `threshold`, else 0.

    `alpha` is a mask, uint8 [H,W], and `threshold` is 0..1.
    """
    level = int(np.ceil(round(threshold * 255, 6)))
    table = np.where(np.arange(256) >= level, 255, 0).astype(np.uint8)
    return np.asarray(cv2.LUT(alpha, table), np.uint8)


def grow(alpha: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """Moves the outline of a mask, uint8 [H,W], outwards by `pixels`, or inwards if negative.

    Returns a new mask of the same shape. Corners become round.
    """
    radius = abs(pixels)
    if radius <= MAX_EXACT_GROW_PIXELS:
        return _grow(alpha, radius, outwards=pixels > 0)
    factor = radius / MAX_EXACT_GROW_PIXELS
    height, width = alpha.shape
    small = resize(alpha, (max(1, round(height / factor)), max(1, round(width / factor))))
    grown = _grow(small, MAX_EXACT_GROW_PIXELS, outwards=pixels > 0)
    return np.asarray(cv2.resize(grown, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _grow(alpha: NDArray[np.uint8], radius: int, *, outwards: bool) -> NDArray[np.uint8]:
    """Dilates a mask, uint8 [H,W], by a disc of `radius` pixels; erodes it unless `outwards`.

    Growing in steps, by 3 and then by 2, is the same as by 5, and cheaper than one step.
    """
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
    """Softens the outline of a mask, uint8 [H,W], into a ramp. Returns a new mask.

    The ramp reaches about `pixels` (>= 0) to either side of the outline.
    """
    return gaussian(alpha, pixels / 2)


def bounding_box(alpha: NDArray[np.uint8]) -> Box | None:
    """Returns the smallest box around all pixels of a mask with an alpha over 127, in its pixels.

    Returns None if there are none.
    """
    left, top, width, height = cv2.boundingRect(person_pixels(alpha))
    return Box(top, left, height, width) if width else None


def measure_quality(alpha: NDArray[np.uint8]) -> MaskQuality:
    """Measures the quality of a mask, uint8 [H,W].

    A mask at the model's own resolution is best: measuring it is cheap, and it is free of resize
    blur.
    """
    person = person_pixels(alpha)
    areas = _component_areas(person)
    total, largest = int(areas.sum()), int(areas.max(initial=0))
    return MaskQuality(
        coverage=total / alpha.size,
        connectivity=largest / total if total else 0.0,
        piece_count=len(areas),
        holes=_count_holes(person),
        boundary_certainty=_mean_certainty(alpha, boundary_band(person)),
        size_hw=(alpha.shape[0], alpha.shape[1]),
    )


def is_person(
    quality: MaskQuality,
    person_share: float = PERSON_SHARE,
    person_certainty: float = PERSON_CERTAINTY,
) -> bool:
    """Returns whether the largest component of a measured mask is a person and not noise.

    It must cover `MIN_PERSON_SHARE` of the mask, and its boundary certainty must reach
    `MIN_PERSON_CERTAINTY`. Unless it covers `person_share`, its certainty must also reach
    `person_certainty`. All are 0..1.
    """
    required = MIN_PERSON_CERTAINTY if quality.largest_share >= person_share else person_certainty
    return quality.largest_share >= MIN_PERSON_SHARE and quality.boundary_certainty >= required


def empty_if_noise(alpha: NDArray[np.uint8], quality: MaskQuality) -> NDArray[np.uint8]:
    """Returns the mask itself, or a mask of zeros if its largest component is not a person.

    `quality` is the measured quality of that mask.
    """
    return alpha if quality.foreground else np.zeros_like(alpha)


def person_pixels(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a hard mask, uint8 [H,W]: 255 where the alpha is over 127, else 0."""
    return np.asarray(cv2.threshold(alpha, MASK_THRESHOLD, 255, cv2.THRESH_BINARY)[1], np.uint8)


def boundary_band(person: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the pixels within `BOUNDARY_RADIUS` of the outline, uint8 [H,W]: 255 there, else 0.

    `person` is a hard mask from `person_pixels`.
    """
    side = 2 * BOUNDARY_RADIUS + 1
    near = np.ones((side, side), np.uint8)
    return np.asarray(cv2.morphologyEx(person, cv2.MORPH_GRADIENT, near), np.uint8)


def _mean_certainty(alpha: NDArray[np.uint8], band: NDArray[np.uint8]) -> float:
    """Returns the mean certainty, 0..1, of the mask's pixels where `band` is not 0.

    If the band is 0 everywhere, it is the mean over all pixels. Both are uint8 [H,W].
    """
    certainty = np.asarray(cv2.LUT(alpha, _CERTAINTY), np.uint8)
    mean = cv2.mean(certainty, band if band.any() else None)[0]
    return min(1.0, float(mean) / 255)  # a mean of ones may round to more


def _component_areas(person: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Returns the area, in pixels, of each 8-connected component of non-zero pixels, int32 [K]."""
    height, width = person.shape
    # 16-bit labels take half the time; they suffice if they can number every possible component.
    max_components = ((height + 1) // 2) * ((width + 1) // 2)
    ltype = cv2.CV_16U if max_components <= np.iinfo(np.uint16).max else cv2.CV_32S
    _, _, stats, _ = cv2.connectedComponentsWithStats(person, connectivity=8, ltype=ltype)
    return np.asarray(stats[1:, cv2.CC_STAT_AREA], np.int32)


def _count_holes(person: NDArray[np.uint8]) -> int:
    """Returns the number of holes in a hard mask, uint8 [H,W], without specks.

    Holes are found as inner contours, which is far cheaper than components of the background.
    """
    contours, hierarchy = cv2.findContours(person, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return 0
    min_pixels = MIN_HOLE_SHARE * person.size
    inner = np.flatnonzero(np.asarray(hierarchy)[0, :, _PARENT_COLUMN] >= 0).tolist()
    return sum(_enclosed_pixels(contours[index]) >= min_pixels for index in inner)


def _enclosed_pixels(contour: NDArray[Any]) -> float:
    """Returns the number of pixels inside a contour, without those on it, by Pick's theorem.

    `contour` is [N,1,2], with neighbouring pixels in sequence.
    """
    return cv2.contourArea(contour) - len(contour) / 2 + 1
