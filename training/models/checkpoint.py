"""The averaged weights of a checkpoint of training or of a file of `training/weights/`.

    python -m training.models.checkpoint RUNS/NAME/last.pt WEIGHTS.pt

writes them alone, in half precision.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor


def read_average(file: Path, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """The averaged weights, which are the ones that are measured and served.

    Raises OSError where there is no such file, KeyError where it holds none.
    """
    average: dict[str, Tensor] = torch.load(file, map_location=device, weights_only=True)["average"]
    return average


def write_half(checkpoint: Path, file: Path) -> None:
    """Writes the averaged weights alone, in half precision: a sixth of a checkpoint's size.

    Loading them into a network makes them float32 again. Raises OSError and KeyError as
    `read_average`.
    """
    average = read_average(checkpoint)
    halved = {
        name: value.half() if value.is_floating_point() else value
        for name, value in average.items()
    }
    torch.save({"average": halved}, file)


if __name__ == "__main__":
    write_half(Path(sys.argv[1]), Path(sys.argv[2]))
