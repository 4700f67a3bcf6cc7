"""Soft Jaccard loss: IoU of both classes in each photo, with areas as sums of probabilities.

Source: Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
Segmentation" (ISVC 2016). Cross entropy weights all pixels equally. With this
loss a small background beside a face that fills the photo counts as much as the face.
"""

import torch
from torch import Tensor


def jaccard_loss(probability: Tensor, truth: Tensor, pixel_weight: Tensor | None = None) -> Tensor:
    """Returns 1 - IoU, mean over photos and over {background, person}.

    Probability is [N,H,W] of person, truth [N,H,W] in 0..1. An empty union counts as a full IoU.
    `pixel_weight` [N,H,W] in 0..1 weights the pixels of the areas, and each photo by its largest
    weight.
    """
    if pixel_weight is None:
        pixel_weight = torch.ones_like(truth)
    person = _iou(probability, truth, pixel_weight)
    background = _iou(1 - probability, 1 - truth, pixel_weight)
    photo_weight = pixel_weight.amax((1, 2))
    return (photo_weight * (1 - torch.stack([background, person]).mean(0))).mean()


def _iou(probability: Tensor, truth: Tensor, pixel_weight: Tensor) -> Tensor:
    """Returns the soft IoU of each photo, [N]."""
    intersection = (pixel_weight * probability * truth).sum((1, 2))
    union = (pixel_weight * (probability + truth - probability * truth)).sum((1, 2))
    return torch.where(union > 0, intersection / union.clamp(min=1e-6), 1.0)
