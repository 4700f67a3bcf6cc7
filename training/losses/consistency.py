"""Consistency loss between two views of one photo.

Source: PortraitNet (Computers & Graphics 80, 2019), section 3.3, and its released code.
"""

import torch.nn.functional as F
from torch import Tensor


def consistency(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Returns T^2 KL(teacher, student) of logits [N,C,H,W], mean over all elements and classes.

    The teacher, the view without changed colours, receives no gradient.
    """
    target = F.softmax(teacher.detach() / temperature, dim=1)
    log_probability = F.log_softmax(student / temperature, dim=1)
    return temperature**2 * F.kl_div(log_probability, target, reduction="none").mean()
