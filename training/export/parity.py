"""Checks an exported graph against the network: torch with ONNX Runtime, and batches with rows."""

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
"""Largest allowed difference from torch, in levels of 255.

Float sums in another order may round a probability the other way."""

MAX_FLOAT16_DIFFERENCE_LEVELS = 3
"""Largest allowed difference from torch of a graph with kernels stored as float16.

The U-Net's masks of five photos of scikit-image differed by at most 2."""

MAX_BATCH_DIFFERENCE_LEVELS = {"uint8": 0.0, "float32": 0.01}
"""Largest allowed difference of a batch from its rows, in levels of 255, by dtype.

Outputs that are not rounded differ in their last bits."""

PARITY_ROWS = 8
"""Rows of the test batch; eight rows cover every domain in `parity_inputs`."""


class ParityError(Exception):
    """Raised if the exported graph and the network compute different results."""


def check_parity(
    model: nn.Module, file: Path, size_hw: Size, *, allowed: float = MAX_DIFFERENCE_LEVELS
) -> float:
    """Returns the largest difference between torch and ONNX Runtime, in levels of 255.

    `allowed` is the limit of that difference. Also compares a batch of eight rows with the same
    rows alone. The rows have every domain if the network takes one. Raises ParityError if a
    difference exceeds its limit.
    """
    inputs = parity_inputs(model, size_hw, count=PARITY_ROWS)
    predict = open_onnx(file)
    batch = predict(inputs)
    rows = [{name: value[[row]] for name, value in inputs.items()} for row in range(PARITY_ROWS)]
    single_rows = np.concatenate([predict(row) for row in rows])
    with torch.inference_mode():
        tensors = [torch.from_numpy(value) for value in inputs.values()]
        expected = build_deployed(model)(*tensors).numpy()
    difference = largest_difference(expected, batch)
    if difference > allowed:
        raise ParityError(f"{file} differs from torch by {difference} levels, allowed is {allowed}")
    batch_difference = largest_difference(batch, single_rows)
    if batch_difference > MAX_BATCH_DIFFERENCE_LEVELS[batch.dtype.name]:
        raise ParityError(
            f"{file} gives other values for a batch than for its rows, by {batch_difference} levels"
        )
    return difference


def parity_inputs(model: nn.Module, size_hw: Size, *, count: int) -> dict[str, NDArray[Any]]:
    """Returns random scenes and the other inputs of the network.

    In eight rows, the input `domain` takes all six valid values and two invalid ones.
    """
    inputs: dict[str, NDArray[Any]] = {"image": parity_images(size_hw, count=count)}
    match extra_input(model):
        case "prior":
            inputs["prior"] = parity_images(size_hw, count=count)[..., 0]
        case "domain":
            inputs["domain"] = (np.arange(count) * 5 % 8 - 1).astype(np.int64)
    return inputs


def parity_images(size_hw: Size, *, count: int) -> NDArray[np.uint8]:
    """Returns smooth random scenes uint8 [count,H,W,3]; white noise would exercise nothing."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 9, 9)))
    scenes = torch.nn.functional.interpolate(coarse, size=size_hw, mode="bicubic").clamp(0, 255)
    images: NDArray[np.uint8] = scenes.permute(0, 2, 3, 1).to(torch.uint8).numpy()
    return np.ascontiguousarray(images)


def largest_difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Returns the largest difference in levels of 255, for masks in levels and for shares 0..1."""
    level = 1 if one.dtype == np.uint8 else 255
    return float(np.abs(one.astype(np.float64) - other).max() * level)
