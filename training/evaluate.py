"""Measures a model on labelled photos, at their own resolution, by source and over all."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from service.spec import ResizeRule, load_spec
from service.vision.geometry import Size, fit, unfit
from training.data.portraits import Portrait, Split, read_portraits
from training.metrics import MaskScore, score, summarise
from training.models.deployed import Deployed
from training.onnx_model import open_onnx

Predict = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""uint8 [N,H,W,3] to uint8 [N,H,W], as every exported model."""

OVERALL = "all"


def predict_with(model: nn.Module) -> Predict:
    """A network (logits out) as a Predict, in evaluation mode."""
    deployed = Deployed(model).eval()

    @torch.inference_mode()
    def predict(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        alpha: NDArray[np.uint8] = deployed(torch.from_numpy(images)).numpy()
        return alpha

    return predict


def evaluate(
    predict: Predict, portraits: Sequence[Portrait], *, size_hw: Size, resize: ResizeRule
) -> dict[str, dict[str, float]]:
    """The summary of `metrics.summarise` by source and under `all`."""
    scores: dict[str, list[MaskScore]] = {}
    for portrait in track(portraits, "evaluating", console=Console(stderr=True), transient=True):
        mask = segment(predict, portrait.rgb(), size_hw=size_hw, resize=resize)
        scores.setdefault(portrait.source, []).append(score(mask > 127, portrait.truth() > 127))
    everything = [row for rows in scores.values() for row in rows]
    named = {source: summarise(rows) for source, rows in sorted(scores.items())}
    return named | {OVERALL: summarise(everything)}


def segment(
    predict: Predict, rgb: NDArray[np.uint8], *, size_hw: Size, resize: ResizeRule
) -> NDArray[np.uint8]:
    """One photo to its mask uint8 [H,W], by the same steps as the service."""
    image, placement = fit(rgb, size_hw, resize)
    return unfit(predict(image[None])[0], placement, rgb.shape[:2])


def table(summaries: Mapping[str, Mapping[str, Any]]) -> Table:
    """Rows by source, columns by metric."""
    columns = list(next(iter(summaries.values())))
    grid = Table("source", *columns)
    for source, row in summaries.items():
        grid.add_row(
            source, *(f"{row[c]:.0f}" if c == "photos" else f"{row[c]:.2f}" for c in columns)
        )
    return grid


def main(
    model_dir: Annotated[Path, typer.Argument(help="a folder of model_repository/")],
    data: Annotated[Path, typer.Option(help="the data pack")],
    split: Annotated[str, typer.Option(help="train or val")] = "val",
) -> None:
    """Evaluates an exported model."""
    spec = load_spec(model_dir)
    chosen: Split = "train" if split == "train" else "val"
    summaries = evaluate(
        open_onnx(spec.model_file(model_dir.parent)),
        read_portraits(data, chosen),
        size_hw=spec.size_hw,
        resize=spec.resize,
    )
    Console(width=140).print(table(summaries))


if __name__ == "__main__":
    typer.run(main)
