"""Exports a checkpoint to a folder of `model_repository/`.

The folder holds the ONNX file, spec.json, Triton configurations and a model card.

    python -m training.export RUNS/connectnet_longer --recipe connectnet_longer --data DATA
"""

import hashlib
from pathlib import Path
from typing import Annotated

import onnx
import torch
import typer
from rich.console import Console
from torch import nn

from silhouette_seg.engine.triton.config_pbtxt import write_configs
from silhouette_seg.spec import ModelSpec, TensorSpec
from silhouette_seg.vision.geometry import Size
from training.export.measurement import measure, write_spec
from training.export.model_card import write_card
from training.export.parity import (
    MAX_DIFFERENCE_LEVELS,
    MAX_FLOAT16_DIFFERENCE_LEVELS,
    check_parity,
)
from training.export.storage import KERNEL_NDIM, store_kernels_as_float16
from training.models import build_model, deploy_form, extra_input
from training.models.checkpoint import read_average
from training.models.deployed import build_deployed
from training.models.face_detector import CELL_SIDE_PX, FaceDetector
from training.options import DEFAULT_REPOSITORY, DataPack, Repository
from training.recipe import Recipe, check_recipe, read_recipe

OPSET = 18
MAX_BATCH = 16
WEIGHTS_FOLDER = Path("training/weights")

LICENCE = (
    "Weights Apache-2.0 as far as they are ours to license; trained on photographs whose owners "
    "have not been asked (see CARD.md): for research and internal evaluation until cleared."
)


def export_onnx(
    model: nn.Module, size_hw: Size, file: Path, *, float16_kernels: bool = False
) -> None:
    """Writes the deployed graph with a dynamic batch axis as one file that includes the weights.

    `float16_kernels` halves the file, see store_kernels_as_float16.
    """
    # An example batch of one would freeze the batch axis.
    example = [torch.zeros((2, *size_hw, 3), dtype=torch.uint8)]
    extra = extra_input(model)
    if extra == "prior":
        example.append(torch.zeros((2, *size_hw), dtype=torch.uint8))
    elif extra == "domain":
        example.append(torch.tensor([0, 3]))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.onnx.export(
        build_deployed(model),
        tuple(example),
        input_names=["image", extra] if extra else ["image"],
        output_names=[output_spec(model, size_hw).name],
        dynamic_shapes=[{0: batch} for _ in example],
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None, "the exporter returns a program when asked for dynamo"
    file.parent.mkdir(parents=True, exist_ok=True)
    proto = program.model_proto
    # A published file must not hold file paths and source lines of the exporting machine.
    del proto.metadata_props[:]
    for node in proto.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    if float16_kernels:
        store_kernels_as_float16(proto)
    onnx.save(proto, str(file))


def read_weights(recipe: Recipe, *checkpoints: Path) -> nn.Module:
    """Returns the network with the averaged weights of a checkpoint, in evaluation mode.

    For several checkpoints the weights are their mean: Wortsman et al., "Robust fine-tuning of
    zero-shot models" (CVPR 2022).
    """
    model = build_model(recipe.model, recipe.options)
    states = [read_average(checkpoint) for checkpoint in checkpoints]
    mean = {
        name: sum(state[name] for state in states) / len(states)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }
    model.load_state_dict(mean)
    return model.eval()


def save_weights(model: nn.Module, file: Path) -> None:
    """Saves the weights as initial weights for training; kernels are float16."""
    weights = {
        name: value.half() if value.ndim == KERNEL_NDIM else value
        for name, value in model.state_dict().items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"average": weights}, file)


def input_specs(model: nn.Module, size_hw: Size) -> tuple[TensorSpec, ...]:
    """Returns the specs of `image` and of the second input, if any."""
    image = TensorSpec(name="image", dtype="uint8", shape=(-1, *size_hw, 3))
    match extra_input(model):
        case "prior":
            return image, TensorSpec(name="prior", dtype="uint8", shape=(-1, *size_hw))
        case "domain":
            return image, TensorSpec(name="domain", dtype="int64", shape=(-1,))
    return (image,)


def output_spec(model: nn.Module, size_hw: Size) -> TensorSpec:
    """Returns the spec of `alpha`, or of `faces` for the face detector."""
    if isinstance(model, FaceDetector):
        cells = size_hw[0] // CELL_SIDE_PX * (size_hw[1] // CELL_SIDE_PX)
        return TensorSpec(name="faces", dtype="float32", shape=(-1, cells, 5))
    return TensorSpec(name="alpha", dtype="uint8", shape=(-1, *size_hw))


def build_spec(
    recipe: Recipe,
    inputs: tuple[TensorSpec, ...],
    output: TensorSpec,
    file: Path,
) -> ModelSpec:
    """Builds the spec of an exported file, still without metrics."""
    size_hw = inputs[0].shape[1], inputs[0].shape[2]
    return ModelSpec(
        name=recipe.model,
        inputs=inputs,
        output=output,
        size_hw=size_hw,
        resize=recipe.resize,
        max_batch=MAX_BATCH,
        precision="float32",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        run=recipe.name,
        licence=LICENCE,
    )


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    recipe: Annotated[
        Path, typer.Option(help="Recipe of the run: a file or its name.", callback=check_recipe)
    ],
    data: DataPack,
    repository: Repository = DEFAULT_REPOSITORY,
    weights: Annotated[
        Path, typer.Option(help="Folder for the weights from which training can start.")
    ] = WEIGHTS_FOLDER,
    size: Annotated[
        str, typer.Option(help="Input size HxW; that of the last phase by default.")
    ] = "",
    mean_with: Annotated[
        list[Path] | None,
        typer.Option(help="Checkpoint of another run; the exported weights are the mean of all."),
    ] = None,
    float16_kernels: Annotated[
        bool,
        typer.Option(
            "--float16-kernels",
            help="Store kernels as float16: half the file, the same float32 arithmetic.",
        ),
    ] = False,
) -> None:
    """Exports, checks parity with torch and measures; replaces nothing if a step fails."""
    loaded_recipe = read_recipe(recipe)
    size_hw = parse_size(size) if size else loaded_recipe.phases[-1].size_hw
    model = read_weights(loaded_recipe, run / "last.pt", *(mean_with or []))
    folder = repository / loaded_recipe.model
    candidate = folder / "1" / "candidate.onnx"
    try:
        export_onnx(deploy_form(model), size_hw, candidate, float16_kernels=float16_kernels)
        allowed = MAX_FLOAT16_DIFFERENCE_LEVELS if float16_kernels else MAX_DIFFERENCE_LEVELS
        check_parity(model, candidate, size_hw, allowed=allowed)
        inputs, output = input_specs(model, size_hw), output_spec(model, size_hw)
        spec, table = measure(build_spec(loaded_recipe, inputs, output, candidate), candidate, data)
        candidate.replace(spec.model_file(repository))
    finally:
        candidate.unlink(missing_ok=True)
    save_weights(model, weights / f"{loaded_recipe.model}.pt")
    write_spec(spec, folder)
    write_configs(spec, folder)
    write_card(spec, folder, run / "curve.png")
    Console(width=140).print(table)


def parse_size(text: str) -> Size:
    """Parses "192x160" to (192, 160); raises ValueError."""
    height, width = (int(side) for side in text.split("x"))
    return height, width


if __name__ == "__main__":
    typer.run(main)
