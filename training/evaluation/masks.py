"""Measures a model on labelled photos, at their own resolution, by source and over all.

    python -m training.evaluation.masks model_repository/connectnet --data DATA
    python -m training.evaluation.masks model_repository/connectnet --data DATA --url URL
    python -m training.evaluation.masks model_repository/connectnet --data DATA --url URL \
        --person dominant

The second command requests the masks from a running service at URL, such as http://127.0.0.1:8000.
The first two commands must give the same figures. The third measures the main person alone. The
labels of some sources leave out people in the background.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.request import Request, urlopen

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.spec import ModelSpec, ResizeRule, load_spec
from silhouette_seg.vision.geometry import Size, fit, inside, unfit
from silhouette_seg.vision.mask.quality import empty_if_noise, measure_quality
from training.data.dataset import Portrait, Split, read_portraits
from training.evaluation.metrics import MaskScore, score_mask, summarise_masks
from training.evaluation.onnx_model import Predict, Tensors, open_onnx
from training.models import extra_input
from training.models.deployed import DeployedSegmenter
from training.options import DataPack

Segment = Callable[[Portrait], NDArray[np.uint8]]
"""Maps a photo to its mask uint8 [H,W] at the photo's size."""

DomainPolicy = Callable[[Portrait], Domain]
"""Maps a photo to the domain that the model receives."""

OVERALL = "all"


def reference_domain(portrait: Portrait) -> Domain:
    """Returns the domain of the reference face in the data pack."""
    return portrait.domain


def evaluate_masks(segment: Segment, portraits: Sequence[Portrait]) -> dict[str, dict[str, float]]:
    """Returns the summary of `metrics.summarise_masks` by source and under `all`."""
    scores: dict[str, list[MaskScore]] = {}
    for portrait in track(portraits, "evaluating", console=Console(stderr=True), transient=True):
        mask = segment(portrait)
        scores.setdefault(portrait.source, []).append(
            score_mask(mask > 127, portrait.truth() > 127)
        )
    all_scores = [score for source_scores in scores.values() for score in source_scores]
    summaries = {
        source: summarise_masks(source_scores) for source, source_scores in sorted(scores.items())
    }
    return summaries | {OVERALL: summarise_masks(all_scores)}


def segmenter_from_network(network: nn.Module, *, size_hw: Size, resize: ResizeRule) -> Segment:
    """Returns a function that runs a torch network with logits as output.

    The network is put into evaluation mode.
    """
    deployed = DeployedSegmenter(network).eval()
    device = next(network.parameters()).device
    extra = extra_input(network)

    @torch.inference_mode()
    def predict(inputs: Tensors) -> NDArray[Any]:
        tensors = [torch.from_numpy(value).to(device) for value in inputs.values()]
        alpha: NDArray[Any] = deployed(*tensors).cpu().numpy()
        return alpha

    return segmenter_from_model(
        predict, size_hw=size_hw, resize=resize, extras=[extra] if extra else []
    )


def segmenter_from_model(
    predict: Predict,
    *,
    size_hw: Size,
    resize: ResizeRule,
    extras: Collection[str] = (),
    domain: DomainPolicy = reference_domain,
) -> Segment:
    """Returns a function that runs an exported model with the service's steps, in this process.

    `extras` are the names of the inputs beside `image`.
    """

    def segment(portrait: Portrait) -> NDArray[np.uint8]:
        frame = portrait.frame(min_size=size_hw)
        image, placement = fit(frame.rgb, size_hw, resize)
        inputs: dict[str, NDArray[Any]] = {"image": image[None]}
        if "prior" in extras:
            inputs["prior"] = np.zeros((1, *size_hw), np.uint8)
        if "domain" in extras:
            inputs["domain"] = np.array([domain(portrait)], np.int64)
        alpha = predict(inputs)[0]
        quality = measure_quality(alpha[inside(placement)])
        return empty_if_noise(unfit(alpha, placement, frame.photo_hw), quality)

    return segment


def segmenter_from_spec(spec: ModelSpec, model_file: Path) -> Segment:
    """Returns a function that segments photos with the exported model in `model_file`.

    Raises OSError without the file.
    """
    extras = [tensor.name for tensor in spec.inputs if tensor.name != "image"]
    return segmenter_from_model(
        open_onnx(model_file), size_hw=spec.size_hw, resize=spec.resize, extras=extras
    )


def segmenter_from_service(url: str, model: str, person: str = "all") -> Segment:
    """Returns a function that requests masks from a running service over HTTP.

    `person` is the parameter of the service: `all` or `dominant`. The function raises
    urllib.error.URLError.
    """

    def segment(portrait: Portrait) -> NDArray[np.uint8]:
        request = Request(
            f"{url}/v1/segment?model={model}&person={person}&output=mask&format=png",
            data=portrait.image.read_bytes(),
            headers={"Content-Type": "image/jpeg"},
        )
        with urlopen(request, timeout=30) as response:
            encoded = np.frombuffer(response.read(), np.uint8)
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), np.uint8)

    return segment


def metrics_table(summaries: Mapping[str, Mapping[str, Any]]) -> Table:
    """Lists the summaries with sources as rows and metrics as columns."""
    columns = list(next(iter(summaries.values())))
    table = Table("source", *columns)
    for source, row in summaries.items():
        table.add_row(
            source,
            *(
                f"{row[column]:.0f}" if column == "photos" else f"{row[column]:.2f}"
                for column in columns
            ),
        )
    return table


def main(
    model_dir: Annotated[Path, typer.Argument(help="Folder of a model in model_repository/.")],
    data: DataPack,
    split: Annotated[str, typer.Option(help="Split of the data pack: train or val.")] = "val",
    url: Annotated[str, typer.Option(help="URL of a service that predicts the masks.")] = "",
    person: Annotated[
        str, typer.Option(help="People in a mask of the service: all or dominant.")
    ] = "all",
) -> None:
    """Evaluates an exported model, in process or as served."""
    if person != "all" and not url:
        raise typer.BadParameter("A choice of people needs --url.", param_hint="--person")
    spec = load_spec(model_dir)
    chosen_split: Split = "train" if split == "train" else "val"
    if url:
        segment = segmenter_from_service(url.rstrip("/"), spec.name, person)
    else:
        segment = segmenter_from_spec(spec, spec.model_file(model_dir.parent))
    Console(width=140).print(
        metrics_table(evaluate_masks(segment, read_portraits(data, chosen_split)))
    )


if __name__ == "__main__":
    typer.run(main)
