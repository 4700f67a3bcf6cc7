"""What an outline that is off by some pixels costs: how exact a mask must be for a figure."""

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
    """Of one group of photos."""

    name: str
    photos: int
    sides: tuple[int, int]
    """Median height and width."""
    scores: tuple[Estimate, ...]
    """For each of `PIXELS` the mean over photos of both classes' IoU, in percent."""


def measure_outlines(
    portraits: Sequence[Portrait], groups: Sequence[Group]
) -> list[OutlineFigures]:
    """The labels themselves as if they were answers, with their outline moved: once outwards and
    once inwards, of which the mean counts. By source, and all.
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
    mask = truth.astype(np.uint8)
    moved = (cv2.dilate(mask, disk) > 0, cv2.erode(mask, disk) > 0)
    return 100 * float(np.mean([class_iou(each, truth) for each in moved]))


def _median_sides(masks: Sequence[Mask]) -> tuple[int, int]:
    height, width = np.median([mask.shape for mask in masks], axis=0)
    return int(height), int(width)


def outlines_text(figures: Sequence[OutlineFigures]) -> str:
    if not figures:
        return ""
    rows = [
        (
            each.name,
            f"{each.photos}",
            f"{each.sides[0]}x{each.sides[1]}",
            *(figure(score) for score in each.scores),
        )
        for each in figures
    ]
    head = ("photos of", "photos", "median size", *(f"{pixels} px" for pixels in OFFSETS_PX))
    return f"""## What a pixel of outline costs

{METRIC_TITLES["miou_image_mean"]}, of the reference masks themselves after their outline was moved
by so many pixels, outwards and inwards in turn: what a mask would score that is right in everything
but that. No figure above can be read more exactly than the references were drawn.

{table(head, rows)}"""
