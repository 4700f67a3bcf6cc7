"""The command `silhouette models import`: makes a model of the service of an ONNX file."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from silhouette_seg.cli.console import err, fail, load_repository, out, print_line
from silhouette_seg.errors import InstallationError
from silhouette_seg.model_import.presets import PRESETS, Preset
from silhouette_seg.model_import.processing import (
    Activation,
    ColourOrder,
    Processing,
    Scale,
    TensorLayout,
    Triple,
)
from silhouette_seg.runtime.extras import check_runtime, require
from silhouette_seg.spec import ResizeRule
from silhouette_seg.vision.geometry import Size

if TYPE_CHECKING:
    from silhouette_seg.model_import.importer import ImportedModel

UNKNOWN_SIZE = (-1, -1)
"""Size of an import without a preset, until the graph or the user names one."""


def import_command(
    file: Annotated[Path, typer.Argument(help="ONNX file of a segmentation or matting network.")],
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, for the card and /v1/models.")
    ],
    preset: Annotated[
        str | None, typer.Option(help=f"Known network: {', '.join(PRESETS)}.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model; by default the preset's or the file's.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Input size HxW, such as 320x320; by default the graph's.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Mean of red, green and blue, 0..1: 0.485,0.456,0.406.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(help="Standard deviation of red, green and blue, 0..1.")
    ] = None,
    layout: Annotated[
        TensorLayout | None,
        typer.Option(help="Axes of the network; by default its own."),
    ] = None,
    order: Annotated[ColourOrder | None, typer.Option(help="Colours of the input.")] = None,
    scale: Annotated[
        Scale | None, typer.Option(help="Divisor of the pixels: 255, or the photo's maximum.")
    ] = None,
    channel: Annotated[
        int | None, typer.Option(min=0, help="Channel of the output that is the person.")
    ] = None,
    activation: Annotated[
        Activation | None, typer.Option(help="From the output to the share of person.")
    ] = None,
    resize: Annotated[
        ResizeRule | None, typer.Option(help="Fit of a photo to the input size.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Output with the mask; by default the first that can be one.")
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option(min=1, help="Largest batch, if the graph allows batches.")
    ] = None,
    model_repository: Annotated[
        Path | None, typer.Option(help="Folder of models; it is created if it does not exist.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model of that name.")
    ] = False,
) -> None:
    """Import an ONNX file as a model of the service.

    The steps before and after the network become part of its graph. The result is compared with
    the original, and the folder appears only if both agree. Options take precedence over the
    preset. Without one, --mean, --std and --activation are required.
    """
    try:
        require("onnx", "Imports of models", "import")
        check_runtime()
        known = _find_preset(preset)
        changes = {
            "mean": mean and _parse_triple("mean", mean),
            "std": std and _parse_triple("std", std),
            "order": order,
            "scale": scale,
            "channel": channel,
            "activation": activation,
            "resize": resize,
        }
        processing = _processing(known, {k: v for k, v in changes.items() if v is not None})
        size_hw = _parse_size(size) if size else None

        from silhouette_seg.model_import.importer import ImportRequest, import_model

        request = ImportRequest(
            file=file,
            name=name or preset or file.stem,
            licence=licence,
            processing=processing,
            layout=layout,
            size_hw=size_hw,
            output=output,
            max_batch=max_batch,
            preset_name=preset,
            preset=known,
        )
        comparing = f"{file.name}: comparing the imported graph with the original"
        imported = import_model(
            request,
            load_repository(model_repository),
            overwrite=overwrite,
            on_compare=partial(print_line, out, comparing),
        )
    except InstallationError as error:
        fail(str(error))
    except (OSError, ValueError) as error:
        fail(f"{file.name}: {error}")
    _print_result(imported, processing, known)


def _find_preset(name: str | None) -> Preset | None:
    if name is None:
        return None
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name}; available: {', '.join(PRESETS)}")
    return PRESETS[name]


def _processing(preset: Preset | None, changes: dict[str, object]) -> Processing:
    """Returns the processing of the preset with `changes`; raises ValueError if one is missing."""
    if preset is not None:
        return replace(preset.processing, **changes)  # type: ignore[arg-type]
    missing = [f"--{name}" for name in ("mean", "std", "activation") if name not in changes]
    if missing:
        raise ValueError(f"without --preset, {' and '.join(missing)} must be given")
    return Processing(size_hw=UNKNOWN_SIZE, **changes)  # type: ignore[arg-type]


def _parse_size(text: str) -> Size:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"--size is HEIGHTxWIDTH in pixels, such as 320x320, not {text!r}")
    return int(height), int(width)


def _parse_triple(option: str, text: str) -> Triple:
    """Returns three numbers of a text with three, or with one that counts for all."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= 3
    smallest = 0 if option == "mean" else 1e-6
    if len(values) != 3 or not all(smallest <= value <= 255 for value in values):
        raise ValueError(f"--{option} is one number or three such as 0.5,0.5,0.5, not {text!r}")
    return values[0], values[1], values[2]


def _print_result(imported: "ImportedModel", processing: Processing, preset: Preset | None) -> None:
    spec, verification = imported.spec, imported.verification
    height, width = spec.size_hw
    print_line(out, f"{spec.name}: imported to {imported.folder}")
    print_line(out, f"  input {height}x{width} {spec.resize}, largest batch {spec.max_batch}")
    print_line(
        out,
        f"  largest difference from the original: {verification.largest_difference} of 255 levels",
    )
    if verification.largest_difference > verification.steps_difference:
        print_line(
            out,
            "  for the same input bit by bit it is"
            f" {verification.steps_difference}: the network amplifies rounding",
        )
    print_line(out, f"  an image took {verification.image_s:.2f} s here")
    if preset and not preset.tested:
        print_line(err, "note: this preset has not been tested with published weights")
    if preset and preset.note:
        print_line(err, f"note: {preset.note}")
    if processing.activation is Activation.MINMAX:
        print_line(err, "note: a photo without a person becomes noise of full contrast")
