"""Reader and writer of averaged weights: of a checkpoint or of a file of `training/weights/`.

    python -m training.models.checkpoint RUNS/NAME/last.pt WEIGHTS.pt

The command writes the averaged weights alone, in half precision.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor


def read_average(file: Path, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """Reads the averaged weights, which are measured and served.

    Raises OSError without the file and KeyError if it contains no averaged weights.
    """
    average: dict[str, Tensor] = torch.load(file, map_location=device, weights_only=True)["average"]
    return average


def write_half(checkpoint: Path, file: Path) -> None:
    """Writes the averaged weights alone, in half precision: a sixth of a checkpoint's size.

    Loading them into a network converts them to float32. Raises OSError and KeyError like
    `read_average`.
    """
    average = read_average(checkpoint)
    half = {
        name: value.half() if value.is_floating_point() else value
        for name, value in average.items()
    }
    torch.save({"average": half}, file)


if __name__ == "__main__":
    write_half(Path(sys.argv[1]), Path(sys.argv[2]))
