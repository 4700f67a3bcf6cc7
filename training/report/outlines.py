"""Measures the cost of an outline error of some pixels, a limit to the precision of figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from training.data.dataset import Portrait
from training.evaluation.metrics import Estimate, Mask, class_iou, mean_estimate
from training.report.markdown import figure, table
from training.report.scores import METRIC_TITLES, Group

OFFSETS_PX = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class OutlineFigures:
    """Cost of moved outlines in one group of photos."""

    name: str
    photos: int
    sides: tuple[int, int]
    """Median height and width of the photos, in pixels."""
    scores: tuple[Estimate, ...]
    """Mean over photos of both classes' IoU in percent, for each of `OFFSETS_PX`."""


def measure_outlines(
    portraits: Sequence[Portrait], groups: Sequence[Group]
) -> list[OutlineFigures]:
    """Scores the labels themselves after moving their outline, by source and over all.

    The outline is moved once outwards and once inwards; the mean of both counts.
    """
    truths = [portrait.truth() > 127 for portrait in portraits]
    scores = np.array([[_score_moved(truth, pixels) for pixels in OFFSETS_PX] for truth in truths])
    return [
        OutlineFigures(
            name=group.name,
            photos=len(group.rows),
            sides=_median_sides([truths[row] for row in group.rows]),
            scores=tuple(mean_estimate(column) for column in scores[list(group.rows)].T),
        )
        for group in groups
        if group.kind != "domain"
    ]


def _score_moved(truth: Mask, pixels: int) -> float:
    side = 2 * pixels + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    pixel_values = truth.astype(np.uint8)
    moved = (cv2.dilate(pixel_values, disk) > 0, cv2.erode(pixel_values, disk) > 0)
    return 100 * float(np.mean([class_iou(mask, truth) for mask in moved]))


def _median_sides(masks: Sequence[Mask]) -> tuple[int, int]:
    height, width = np.median([mask.shape for mask in masks], axis=0)
    return int(height), int(width)


def outlines_text(figures: Sequence[OutlineFigures]) -> str:
    """Writes the section of outline errors; empty without photos."""
    if not figures:
        return ""
    rows = [
        (
            group.name,
            f"{group.photos}",
            f"{group.sides[0]}x{group.sides[1]}",
            *(figure(score) for score in group.scores),
        )
        for group in figures
    ]
    head = ("photos of", "photos", "median size", *(f"{pixels} px" for pixels in OFFSETS_PX))
    return f"""## Cost of an outline error

{METRIC_TITLES["miou_image_mean"]}, of the reference masks after moving their outline by some
pixels; the mean of one move outwards and one inwards counts. A mask that is exact in everything
else would score this. No figure above is more precise than the reference outlines.

{table(head, rows)}"""
