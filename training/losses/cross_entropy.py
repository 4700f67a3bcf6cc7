"""Two-class cross entropy with soft targets."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, truth: Tensor, trust: Tensor | None = None) -> Tensor:
    """Mean over pixels; logits [N,2,H,W] (class 1 = person), truth [N,H,W] in 0..1.

    `trust` [N,H,W] in 0..1 weights the pixels: 0 ignores one, and the mean is over what is left.

    For two classes softmax cross entropy is the logistic loss of the logits' difference, which
    takes soft rims as they are.
    """
    person = person_logit(logits)
    if trust is None:
        return F.binary_cross_entropy_with_logits(person, truth)
    total = F.binary_cross_entropy_with_logits(person, truth, weight=trust, reduction="sum")
    return total / trust.sum().clamp(min=1)


def person_logit(logits: Tensor) -> Tensor:
    """[N,2,H,W] to [N,H,W], so that sigmoid of it is the softmax probability of person."""
    return logits[:, 1] - logits[:, 0]
