"""Shows that an exported graph is the network: torch against ONNX Runtime, and batches."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from service.vision.geometry import Size
from training.models.deployed import Deployed
from training.onnx_model import open_onnx

TOLERANCE = 1
"""Levels of 255: float sums in another order may round a probability the other way."""


class Mismatch(Exception):
    """The exported graph does not compute what the network computes."""


def verify(model: nn.Module, file: Path, size_hw: Size) -> int:
    """Largest difference in levels, torch to ONNX; raises Mismatch over the tolerance.

    Also compares a batch of five with the same five images alone.
    """
    images = test_images(size_hw, count=5)
    predict = open_onnx(file)
    batch = predict(images)
    alone = np.concatenate([predict(image[None]) for image in images])
    with torch.inference_mode():
        expected = Deployed(model).eval()(torch.from_numpy(images)).numpy()
    off = largest_difference(expected, batch)
    if off > TOLERANCE:
        raise Mismatch(f"{file} differs from torch by {off} levels, allowed is {TOLERANCE}")
    if spread := largest_difference(batch, alone):
        raise Mismatch(f"{file} answers a batch otherwise than its rows, by {spread} levels")
    return off


def test_images(size_hw: Size, *, count: int) -> NDArray[np.uint8]:
    """Smooth random scenes uint8 [count,H,W,3]: noise alone would exercise nothing."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 9, 9)))
    scenes = torch.nn.functional.interpolate(coarse, size=size_hw, mode="bicubic").clamp(0, 255)
    images: NDArray[np.uint8] = scenes.permute(0, 2, 3, 1).to(torch.uint8).numpy()
    return np.ascontiguousarray(images)


def largest_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(np.int16) - other.astype(np.int16)).max())
