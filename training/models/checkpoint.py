"""What a checkpoint of training and a file of `training/weights/` have in common."""

from pathlib import Path

import torch
from torch import Tensor


def read_average(file: Path, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """The averaged weights, which are the ones that are measured and served.

    Raises OSError where there is no such file, KeyError where it holds none.
    """
    average: dict[str, Tensor] = torch.load(file, map_location=device, weights_only=True)["average"]
    return average
