"""Self-supervised loss of MD-TriSeNet: a branch follows the mean of the other branches."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def self_supervised_loss(own: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Returns the cross entropy of logits [N,2,H,W] with the mean softmax of the other branches.

    The result is the mean over pixels. The other branches receive no gradient.
    """
    with torch.no_grad():
        target = torch.stack([F.softmax(logits, dim=1) for logits in others]).mean(0)
    return -(target * F.log_softmax(own, dim=1)).sum(1).mean()
