"""MD-TriSeNet's self-supervised loss: a branch follows what the others think together."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def self_supervised_loss(own: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Cross entropy of logits [N,2,H,W] with the mean softmax of the others' logits, mean over
    pixels. The others receive no gradient.
    """
    with torch.no_grad():
        soft = torch.stack([F.softmax(logits, dim=1) for logits in others]).mean(0)
    return -(soft * F.log_softmax(own, dim=1)).sum(1).mean()
