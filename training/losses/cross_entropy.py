"""Two-class cross entropy with soft targets."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, truth: Tensor, pixel_weight: Tensor | None = None) -> Tensor:
    """Returns the mean over pixels; logits [N,2,H,W] (class 1 = person), truth [N,H,W] in 0..1.

    `pixel_weight` [N,H,W] in 0..1 weights the pixels, and the mean is weighted by it: a pixel of
    weight 0 is ignored.

    For two classes softmax cross entropy is the logistic loss of the logits' difference. It
    accepts soft rims of masks unchanged.
    """
    person = person_logit(logits)
    if pixel_weight is None:
        return F.binary_cross_entropy_with_logits(person, truth)
    total = F.binary_cross_entropy_with_logits(person, truth, weight=pixel_weight, reduction="sum")
    return total / pixel_weight.sum().clamp(min=1)


def person_logit(logits: Tensor) -> Tensor:
    """Maps logits [N,2,H,W] to [N,H,W]; the sigmoid is the softmax probability of person."""
    return logits[:, 1] - logits[:, 0]
