"""Edge losses: the focal loss of RCRNet and the class-balanced loss of TriSeNet."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

CONTOUR_THICKNESS_PX = 4
"""Thickness of an edge label in pixels, as in PortraitNet."""


def focal_edge_loss(
    logits: Tensor, edges: Tensor, pixel_weight: Tensor | None = None, *, gamma: float = 2.0
) -> Tensor:
    """Returns -(1 - p_t)^gamma log p_t, mean over pixels.

    Logits are [N,2,H,W], edges [N,H,W] of 0 or 1.

    The factor is a constant for the gradient, as in PortraitNet's code. `pixel_weight`
    [N,H,W] in 0..1 weights the pixels.
    """
    negative_log = F.cross_entropy(logits, edges.long(), reduction="none")
    factor = (1 - torch.exp(-negative_log.detach())) ** gamma
    loss = factor * negative_log
    return loss.mean() if pixel_weight is None else (pixel_weight * loss).mean()


def balanced_edge_loss(logits: Tensor, edges: Tensor, pixel_weight: Tensor | None = None) -> Tensor:
    """Returns cross entropy with equal weight of edge and rest in each photo, mean over pixels.

    logits [N,H,W], edges [N,H,W] of 0 or 1; `pixel_weight` [N,H,W] in 0..1 weights the pixels.
    Source: TriSeNet, after HED (Xie and Tu, ICCV 2015).
    """
    edges = edges.to(logits)
    beta = 1 - edges.mean((1, 2), keepdim=True)
    weight = torch.where(edges > 0, beta, 1 - beta)
    if pixel_weight is not None:
        weight = weight * pixel_weight
    return F.binary_cross_entropy_with_logits(logits, edges, weight)


def contour_bands(masks: Tensor) -> Tensor:
    """Draws contours 4 pixels wide of masks uint8 [N,H,W], 255 = person.

    Returns uint8 [N,H,W] of 0 or 1.
    """
    person = (masks > 127).to(torch.uint8).cpu().numpy()
    return torch.from_numpy(np.stack([_contours(mask) for mask in person])).to(masks.device)


def gradient_edges(masks: Tensor) -> Tensor:
    """Returns 1 where a 3x3 neighbourhood of masks contains both classes, else 0.

    Masks are uint8 [N,H,W], 255 = person; the result is uint8 [N,H,W].
    """
    person = (masks > 127).float().unsqueeze(1)
    highest = F.max_pool2d(person, 3, stride=1, padding=1)
    lowest = -F.max_pool2d(-person, 3, stride=1, padding=1)
    return (highest - lowest).squeeze(1).to(torch.uint8)


def _contours(person: NDArray[np.uint8]) -> NDArray[np.uint8]:
    contours, _ = cv2.findContours(person, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    canvas = np.zeros_like(person)
    return np.asarray(cv2.drawContours(canvas, contours, -1, 1, CONTOUR_THICKNESS_PX), np.uint8)
