"""Two-class cross entropy with soft targets."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean over pixels; logits [N,2,H,W] (class 1 = person), truth [N,H,W] in 0..1.

    For two classes softmax cross entropy is the logistic loss of the logits' difference, which
    takes soft rims as they are.
    """
    return F.binary_cross_entropy_with_logits(person_logit(logits), truth)


def person_logit(logits: Tensor) -> Tensor:
    """[N,2,H,W] to [N,H,W], so that sigmoid of it is the softmax probability of person."""
    return logits[:, 1] - logits[:, 0]
