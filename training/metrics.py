"""How good a mask is, per photo and over a set; all at the photo's own resolution.

IoU per photo as PortraitNet and RCRNet evaluate, dataset IoU and pixel accuracy as PP-HumanSeg,
SC as PP-HumanSeg, contour accuracy as TriSeNet with the boundary measure of DAVIS
(Perazzi et al., CVPR 2016).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.losses.semantic_connectivity import semantic_connectivity

Mask = NDArray[np.bool_]

CONTOUR_TOLERANCE = 0.008
"""Of the image diagonal, as DAVIS; the TriSeNet paper does not state its own."""


@dataclass(frozen=True, slots=True)
class MaskScore:
    """One photo; pixel counts by class as (background, person)."""

    intersection: tuple[int, int]
    union: tuple[int, int]
    correct: int
    pixels: int
    connectivity: float
    contour_accuracy: float

    @property
    def iou(self) -> tuple[float, float]:
        """IoU of background and of person; an empty union is a perfect 1."""
        background, person = (
            i / u if u else 1.0 for i, u in zip(self.intersection, self.union, strict=True)
        )
        return background, person


def score(prediction: Mask, truth: Mask) -> MaskScore:
    """Compares two masks bool [H,W]."""
    both = int((prediction & truth).sum())
    either = int((prediction | truth).sum())
    pixels = prediction.size
    return MaskScore(
        intersection=(pixels - either, both),
        union=(pixels - both, either),
        correct=pixels - either + both,
        pixels=pixels,
        connectivity=semantic_connectivity(prediction, truth),
        contour_accuracy=contour_accuracy(prediction, truth),
    )


def summarise(scores: Iterable[MaskScore]) -> dict[str, float]:
    """Percentages over a set of photos.

    `miou_image_mean`: mean over photos of the mean of both classes' IoU. `iou_fg_image_mean`: the
    same of person alone. `miou_dataset`: areas summed over the whole set first.
    """
    rows = list(scores)
    ious = np.array([row.iou for row in rows])
    intersection = np.array([row.intersection for row in rows]).sum(0)
    union = np.array([row.union for row in rows]).sum(0)
    return {
        "photos": len(rows),
        "miou_image_mean": 100 * float(ious.mean()),
        "iou_fg_image_mean": 100 * float(ious[:, 1].mean()),
        "miou_dataset": 100
        * float(np.where(union > 0, intersection / np.maximum(union, 1), 1).mean()),
        "pixel_accuracy": 100 * sum(row.correct for row in rows) / sum(row.pixels for row in rows),
        "connectivity": 100 * float(np.mean([row.connectivity for row in rows])),
        "contour_accuracy": 100 * float(np.mean([row.contour_accuracy for row in rows])),
    }


def contour_accuracy(prediction: Mask, truth: Mask, *, radius: int | None = None) -> float:
    """F-measure of boundary pixels within `radius` pixels (default: 0.8 % of the diagonal)."""
    if radius is None:
        radius = math.ceil(CONTOUR_TOLERANCE * math.hypot(*truth.shape))
    predicted, actual = boundary(prediction), boundary(truth)
    precision = _share_near(predicted, actual, radius, if_empty=1.0)
    recall = _share_near(actual, predicted, radius, if_empty=1.0)
    if precision + recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def boundary(mask: Mask) -> Mask:
    """Pixels that differ from their right, lower or lower right neighbour."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    here, right = padded[:-1, :-1], padded[:-1, 1:]
    below, diagonal = padded[1:, :-1], padded[1:, 1:]
    return np.asarray((here != right) | (here != below) | (here != diagonal))


def _share_near(pixels: Mask, others: Mask, radius: int, *, if_empty: float) -> float:
    """The share of `pixels` with one of `others` within `radius`."""
    if not pixels.any():
        return if_empty
    steps = np.arange(-radius, radius + 1)
    disk = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)
    near = cv2.dilate(others.astype(np.uint8), disk)
    return float(near[pixels].mean())
