"""Shows that an exported graph is the network: torch against ONNX Runtime, and batches."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from silhouette_seg.vision.geometry import Size
from training.evaluation.onnx_model import open_onnx
from training.models import extra_input
from training.models.deployed import build_deployed

MAX_DIFFERENCE_LEVELS = 1
"""Levels of 255: float sums in another order may round a probability the other way."""

MAX_BATCH_DIFFERENCE_LEVELS = {"uint8": 0.0, "float32": 0.01}
"""Levels by which a batch may differ from its rows; what is not rounded shows the last bits."""

PARITY_ROWS = 8
"""As many as there are domains in `test_inputs`."""


class ParityError(Exception):
    """The exported graph does not compute what the network computes."""


def check_parity(model: nn.Module, file: Path, size_hw: Size) -> float:
    """Largest difference in levels, torch to ONNX; raises Mismatch over the tolerance.

    Also compares a batch of eight, of every domain where the network takes one, with the same rows
    alone.
    """
    inputs = parity_inputs(model, size_hw, count=PARITY_ROWS)
    predict = open_onnx(file)
    batch = predict(inputs)
    rows = [{name: value[[row]] for name, value in inputs.items()} for row in range(PARITY_ROWS)]
    alone = np.concatenate([predict(row) for row in rows])
    with torch.inference_mode():
        tensors = [torch.from_numpy(value) for value in inputs.values()]
        expected = build_deployed(model)(*tensors).numpy()
    off = largest_difference(expected, batch)
    if off > MAX_DIFFERENCE_LEVELS:
        raise ParityError(
            f"{file} differs from torch by {off} levels, allowed is {MAX_DIFFERENCE_LEVELS}"
        )
    spread = largest_difference(batch, alone)
    if spread > MAX_BATCH_DIFFERENCE_LEVELS[batch.dtype.name]:
        raise ParityError(f"{file} answers a batch otherwise than its rows, by {spread} levels")
    return off


def parity_inputs(model: nn.Module, size_hw: Size, *, count: int) -> dict[str, NDArray[Any]]:
    """Scenes, and whatever the network takes beside them; eight rows have every domain, and two
    that are none.
    """
    inputs: dict[str, NDArray[Any]] = {"image": parity_images(size_hw, count=count)}
    match extra_input(model):
        case "prior":
            inputs["prior"] = parity_images(size_hw, count=count)[..., 0]
        case "domain":
            inputs["domain"] = (np.arange(count) * 5 % 8 - 1).astype(np.int64)
    return inputs


def parity_images(size_hw: Size, *, count: int) -> NDArray[np.uint8]:
    """Smooth random scenes uint8 [count,H,W,3]: noise alone would exercise nothing."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 9, 9)))
    scenes = torch.nn.functional.interpolate(coarse, size=size_hw, mode="bicubic").clamp(0, 255)
    images: NDArray[np.uint8] = scenes.permute(0, 2, 3, 1).to(torch.uint8).numpy()
    return np.ascontiguousarray(images)


def largest_difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    """In levels of 255, of masks in levels as of shares 0..1."""
    level = 1 if one.dtype == np.uint8 else 255
    return float(np.abs(one.astype(np.float64) - other).max() * level)
