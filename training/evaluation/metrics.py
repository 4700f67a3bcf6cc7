"""Mask metrics per photo and over a set, at the photo's own resolution.

IoU per photo follows PortraitNet and RCRNet. Dataset IoU, pixel accuracy and SC follow PP-HumanSeg.
Contour accuracy follows TriSeNet, with the boundary measure of DAVIS (Perazzi et al., CVPR 2016).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.losses.semantic_connectivity import semantic_connectivity

Mask = NDArray[np.bool_]

RESAMPLES = 2000
INTERVAL_PERCENTILES = (2.5, 97.5)
"""Percentiles of the bootstrap interval; 95 % of the resamples lie between them."""
MIN_INTERVAL_PHOTOS = 10
"""Minimum number of photos for a bootstrap interval. With one photo its width would be zero."""

BOUNDARY_WIDTH = 0.02
"""Width of the boundary region as a share of the image diagonal, as boundary IoU is published."""

CONTOUR_TOLERANCE = 0.008
"""Contour tolerance as a share of the image diagonal, from DAVIS; the TriSeNet paper states none.
"""


@dataclass(frozen=True, slots=True)
class MaskScore:
    """Scores of one photo; pixel counts by class are (background, person)."""

    intersection: tuple[int, int]
    union: tuple[int, int]
    correct: int
    pixels: int
    connectivity: float
    contour_accuracy: float

    @property
    def iou(self) -> tuple[float, float]:
        """IoU of background and of person, as `class_iou` returns it."""
        return _shares(self.intersection, self.union)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its bootstrap interval of 95 %, by percentiles."""

    value: float
    low: float
    high: float
    photos: int

    @property
    def has_interval(self) -> bool:
        """True if there are enough photos for `low` and `high` to be valid."""
        return self.photos >= MIN_INTERVAL_PHOTOS

    @property
    def above_zero(self) -> bool:
        """True if the interval is valid and above zero."""
        return self.has_interval and self.low > 0

    @property
    def below_zero(self) -> bool:
        """True if the interval is valid and below zero."""
        return self.has_interval and self.high < 0


def score_mask(prediction: Mask, truth: Mask) -> MaskScore:
    """Scores a predicted mask bool [H,W] against the true mask."""
    intersection, union = _areas(prediction, truth)
    return MaskScore(
        intersection=intersection,
        union=union,
        correct=sum(intersection),
        pixels=prediction.size,
        connectivity=semantic_connectivity(prediction, truth),
        contour_accuracy=contour_accuracy(prediction, truth),
    )


def class_iou(prediction: Mask, truth: Mask) -> tuple[float, float]:
    """Returns the IoU of background and of person; an empty union gives 1."""
    return _shares(*_areas(prediction, truth))


def mask_iou(one: Mask, other: Mask) -> float:
    """Returns the IoU of the covered areas of two masks bool [H,W]; 1 if both are empty."""
    return class_iou(one, other)[1]


def _areas(prediction: Mask, truth: Mask) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns the pixels in the intersection and in the union, as (background, person)."""
    intersection = int((prediction & truth).sum())
    union = int((prediction | truth).sum())
    return (prediction.size - union, intersection), (prediction.size - intersection, union)


def _shares(intersection: tuple[int, int], union: tuple[int, int]) -> tuple[float, float]:
    background, person = (i / u if u else 1.0 for i, u in zip(intersection, union, strict=True))
    return background, person


def summarise_masks(scores: Iterable[MaskScore]) -> dict[str, float]:
    """Returns percentages over a set of photos.

    `miou_image_mean` is the mean over photos of the mean IoU of both classes. `iou_fg_image_mean`
    is the mean over photos of the person IoU. `miou_dataset` sums the areas over the whole set
    before dividing.
    """
    rows = _metric_sums(scores)
    percentages = _percentages(rows.sum(0))
    return {"photos": len(rows)} | {name: float(value) for name, value in percentages.items()}


def estimate_metrics(
    scores: Iterable[MaskScore], *, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Returns the percentages of `summarise_masks` with their bootstrap intervals over photos."""
    rows = _metric_sums(scores)
    resampled = _percentages(_resample_counts(len(rows), resamples) @ rows)
    return _estimates(_percentages(rows.sum(0)), resampled, len(rows))


def compare_metrics(
    scores: Sequence[MaskScore], others: Sequence[MaskScore], *, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Returns the differences `scores` minus `others`, in points.

    Both are scores of the same photos in the same order. A resample draws the same photos for both,
    so photo difficulty cancels. Raises ValueError for different numbers of photos.
    """
    rows, other_rows = _metric_sums(scores), _metric_sums(others)
    if len(rows) != len(other_rows):
        raise ValueError(f"{len(rows)} photos cannot be paired with {len(other_rows)}")
    counts = _resample_counts(len(rows), resamples)
    return _estimates(
        _subtract(_percentages(rows.sum(0)), _percentages(other_rows.sum(0))),
        _subtract(_percentages(counts @ rows), _percentages(counts @ other_rows)),
        len(rows),
    )


def mean_estimate(values: ArrayLike, *, resamples: int = RESAMPLES) -> Estimate:
    """Returns the mean of one value per photo, with its interval.

    For values that are differences the interval is paired.
    """
    column = np.asarray(values, np.float64)
    resampled = _resample_counts(len(column), resamples) @ column / len(column)
    low, high = np.percentile(resampled, INTERVAL_PERCENTILES)
    return Estimate(float(column.mean()), float(low), float(high), len(column))


MetricArrays = dict[str, NDArray[np.float64]]


def _metric_sums(scores: Iterable[MaskScore]) -> NDArray[np.float64]:
    """Returns one row per photo; every metric of a set is a ratio of sums of these columns."""
    return np.array(
        [
            (1, *row.iou, *row.intersection, *row.union, row.correct, row.pixels, *_qualities(row))
            for row in scores
        ],
        np.float64,
    )


def _qualities(row: MaskScore) -> tuple[float, float]:
    return row.connectivity, row.contour_accuracy


def _percentages(sums: NDArray[np.float64]) -> MetricArrays:
    """Returns the percentages for sums [...,11] of the rows of `_metric_sums`."""
    photos, iou_bg, iou_fg, inter_bg, inter_fg, union_bg, union_fg, correct, pixels, sc, ca = (
        np.moveaxis(sums, -1, 0)
    )
    dataset = [
        np.where(union > 0, intersection / np.maximum(union, 1), 1)
        for intersection, union in ((inter_bg, union_bg), (inter_fg, union_fg))
    ]
    shares = {
        "miou_image_mean": (iou_bg + iou_fg) / 2 / photos,
        "iou_fg_image_mean": iou_fg / photos,
        "miou_dataset": (dataset[0] + dataset[1]) / 2,
        "pixel_accuracy": correct / pixels,
        "connectivity": sc / photos,
        "contour_accuracy": ca / photos,
    }
    return {name: 100 * share for name, share in shares.items()}


def _resample_counts(photos: int, resamples: int) -> NDArray[np.float64]:
    """Returns how often each photo is drawn, float64 [resamples,photos].

    The same arguments always give the same counts.
    """
    counts = np.random.default_rng(0).multinomial(photos, np.full(photos, 1 / photos), resamples)
    return counts.astype(np.float64)


def _subtract(values: MetricArrays, others: MetricArrays) -> MetricArrays:
    return {name: values[name] - others[name] for name in values}


def _estimates(values: MetricArrays, resampled: MetricArrays, photos: int) -> dict[str, Estimate]:
    limits = {
        name: np.percentile(samples, INTERVAL_PERCENTILES) for name, samples in resampled.items()
    }
    return {
        name: Estimate(float(value), float(limits[name][0]), float(limits[name][1]), photos)
        for name, value in values.items()
    }


def contour_accuracy(prediction: Mask, truth: Mask, *, radius: int | None = None) -> float:
    """Returns the F-measure of boundary pixels within `radius` pixels.

    The default radius is 0.8 % of the diagonal.
    """
    if radius is None:
        radius = math.ceil(CONTOUR_TOLERANCE * math.hypot(*truth.shape))
    predicted, actual = boundary(prediction), boundary(truth)
    precision = _share_near(predicted, actual, radius, if_empty=1.0)
    recall = _share_near(actual, predicted, radius, if_empty=1.0)
    if precision + recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def boundary_iou(prediction: Mask, truth: Mask, *, width: float = BOUNDARY_WIDTH) -> float:
    """Returns the IoU of the boundary regions of both masks (Cheng et al., CVPR 2021).

    `width` is the width of a region as a share of the diagonal. The IoU is 1 if neither mask has a
    boundary region.
    """
    pixels = max(1, round(width * math.hypot(*truth.shape)))
    return mask_iou(_rim(prediction, pixels), _rim(truth, pixels))


def _rim(mask: Mask, pixels: int) -> Mask:
    """Returns the part of a mask within `pixels` of its outline or of the image's edge."""
    padded = np.pad(mask.astype(np.uint8), 1)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=pixels)[1:-1, 1:-1]
    return np.asarray(mask & (inner == 0))


def boundary(mask: Mask) -> Mask:
    """Returns the pixels that differ from their right, lower or lower right neighbour."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    pixel, right = padded[:-1, :-1], padded[:-1, 1:]
    below, diagonal = padded[1:, :-1], padded[1:, 1:]
    return np.asarray((pixel != right) | (pixel != below) | (pixel != diagonal))


def _share_near(pixels: Mask, others: Mask, radius: int, *, if_empty: float) -> float:
    """Returns the share of `pixels` with a pixel of `others` within `radius`."""
    if not pixels.any():
        return if_empty
    steps = np.arange(-radius, radius + 1)
    disk = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)
    near = cv2.dilate(others.astype(np.uint8), disk)
    return float(near[pixels].mean())
