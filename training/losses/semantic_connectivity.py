"""Semantic connectivity (SC): agreement of connected components of prediction and truth.

Source: PP-HumanSeg (WACVW 2022), section 3.2, equations 1 to 5. The released implementation
takes the argmax first, so no gradient reaches the network. Here the topology is hard (labels are
constants) and areas are soft, which makes the same quantity differentiable.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_COMPONENTS = 9
"""Largest number of predicted components that count when there are far too many."""

ColdStart = Literal["paper", "missed"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Components of truth (rows) against components of prediction (columns).

    Row and column 0 are background. `soft` holds summed probabilities (differentiable), `pixels`
    counts.
    """

    soft: Tensor
    pixels: Tensor


def semantic_connectivity_loss(
    probability: Tensor,
    truth: Tensor,
    *,
    cold_start: ColdStart = "paper",
    soften_lone: bool = False,
) -> Tensor:
    """Returns 1 - SC, mean over the batch; probability [N,H,W] of person, truth [N,H,W] in 0..1.

    `cold_start` is the loss if no component of prediction meets one of truth. "paper" is the share
    of the image in either, equation 5. "missed" is 1 + the share of truth not predicted, which also
    raises the probability of the missing person. With `soften_lone` a predicted component without
    truth counts by its mean probability instead of one, so that a gradient shrinks it.
    """
    probability = probability.float()
    predicted_masks = (probability.detach() > 0.5).to(torch.uint8).cpu().numpy()
    truth_masks = (truth > 0.5).to(torch.uint8).cpu().numpy()
    losses = []
    for index, (predicted_mask, truth_mask) in enumerate(
        zip(predicted_masks, truth_masks, strict=True)
    ):
        soft = probability[index]
        connectivity = soft_connectivity(
            overlap(soft, predicted_mask, truth_mask), soften_lone=soften_lone
        )
        if connectivity is None:
            losses.append(_cold_start(soft, torch.from_numpy(truth_mask).to(soft), cold_start))
        else:
            losses.append(1 - connectivity)
    return torch.stack(losses).mean()


def semantic_connectivity(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Returns SC of two masks [H,W], 0..1: 1 if both are empty, 0 if no components meet."""
    if not prediction.any() and not truth.any():
        return 1.0
    p, g = prediction.astype(np.uint8), truth.astype(np.uint8)
    connectivity = soft_connectivity(overlap(torch.from_numpy(p).float(), p, g))
    return 0.0 if connectivity is None else float(connectivity)


def overlap(probability: Tensor, predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Overlap:
    """Returns all intersections of the 8-connected components of two uint8 masks [H,W]."""
    rows, truth_labels = cv2.connectedComponents(truth, connectivity=8)
    columns, predicted_labels = _predicted_components(predicted, truth_components=rows - 1)
    cells = torch.from_numpy(truth_labels.astype(np.int64) * columns + predicted_labels)
    cells = cells.flatten().to(probability.device)
    soft = probability.new_zeros(rows * columns).scatter_add(0, cells, probability.flatten())
    pixels = torch.bincount(cells, minlength=rows * columns)
    return Overlap(soft.view(rows, columns), pixels.view(rows, columns))


def soft_connectivity(overlap: Overlap, *, soften_lone: bool = False) -> Tensor | None:
    """Returns SC of equation 3, or None if no components meet.

    N counts every component of truth and every predicted component that meets none, as the
    released code does.
    """
    matched = overlap.pixels[1:, 1:] > 0
    if not matched.any():
        return None
    soft_area, area = overlap.soft.sum(0)[1:], overlap.pixels.sum(1)[1:, None]
    intersection = overlap.soft[1:, 1:]
    iou = intersection / (soft_area + area - intersection)
    per_truth = torch.where(matched, iou, 0).sum(1) / matched.sum(1).clamp(min=1)
    is_unmatched = ~matched.any(0)
    weight = soft_area / overlap.pixels.sum(0)[1:] if soften_lone else torch.ones_like(soft_area)
    return per_truth.sum() / (len(per_truth) + weight[is_unmatched].sum())


def _predicted_components(
    predicted: NDArray[np.uint8], *, truth_components: int
) -> tuple[int, NDArray[np.int64]]:
    """Returns labels and their number, with background; of too many specks only the largest."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(predicted, connectivity=8)
    if count <= 2 * (truth_components + 1) or count - 1 <= MAX_COMPONENTS:
        return count, labels.astype(np.int64)
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = np.argsort(-areas, kind="stable")[:MAX_COMPONENTS] + 1
    renumbered = np.zeros(count, np.int64)
    renumbered[largest] = np.arange(1, len(largest) + 1)
    return len(largest) + 1, renumbered[labels]


def _cold_start(probability: Tensor, truth: Tensor, kind: ColdStart) -> Tensor:
    if kind == "missed" and truth.any():
        return 1 + (truth * (1 - probability)).mean()
    return (probability + truth - probability * truth).mean()
