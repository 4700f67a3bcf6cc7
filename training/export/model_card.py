"""Model card (CARD.md) with the architecture, the metrics and the training run of a model."""

import shutil
from pathlib import Path

from silhouette_seg.spec import ModelSpec
from training.recipe import RECIPES_FOLDER, recipe_files

TITLES = {
    "connectnet": "ConnectNet (PP-HumanSeg, WACVW 2022), 131,766 parameters",
    "rcrnet": "RCRNet star, 781,304 parameters in training, 763,376 served",
    "unet": "U-Net on EfficientNet-Lite2, 5,657,346 parameters, encoder from ImageNet",
    "md_trisenet": "MD-TriSeNet on Xception39, 2,968,181 parameters in training, 2,894,260 served",
    "face_detector": "Face detector, ours, 174,101 parameters",
}

EXTRAS = {
    "prior": "; `prior` uint8, the previous frame's alpha or zeros",
    "domain": "; `domain` int64 [N], 0 far shot .. 5 no face; any other value counts as 5",
}

NOTES = "NOTES.md"
"""File of hand-written notes beside the card, which is appended to it.

It contains comparisons, limits and history."""


def write_card(spec: ModelSpec, folder: Path, curve: Path | None = None) -> None:
    """Writes the card from the spec, with the training curve and the hand-written notes.

    Without a `curve`, the picture of the training curve in the folder stays as it is.
    """
    if curve and curve.exists():
        shutil.copy(curve, folder / "curve.png")
    notes = folder / NOTES
    text = card_text(spec) + ("\n" + notes.read_text() if notes.exists() else "")
    (folder / "CARD.md").write_text(text)


def card_text(spec: ModelSpec) -> str:
    """Returns the Markdown of the card."""
    height, width = spec.size_hw
    extras = "".join(EXTRAS[tensor.name] for tensor in spec.inputs[1:])
    faces = spec.output.name == "faces"
    return f"""\
# {TITLES.get(spec.name, spec.name)}

| | |
|---|---|
| input | `image` uint8 [N,{height},{width},3] RGB, resize rule `{spec.resize}`{extras} |
| output | {_faces_output(spec) if faces else _alpha_output(spec)} |
| precision | {spec.precision} |
| sha256 | `{spec.sha256}` |
| training run | {_training_run(spec.run)} |
| licence | {spec.licence} |

{_faces_figures(spec) if faces else _alpha_figures(spec)}

![training curve](curve.png)
"""


def _training_run(run: str) -> str:
    """Returns the name of the run, with the file of its recipe if this project has it."""
    file = recipe_files().get(run)
    if file is None:
        return f"`{run}`"
    return f"`{run}` (`training/recipes/{file.relative_to(RECIPES_FOLDER).as_posix()}`)"


def _alpha_output(spec: ModelSpec) -> str:
    height, width = spec.size_hw
    return f"`alpha` uint8 [N,{height},{width}], 255 x the probability of person"


def _alpha_figures(spec: ModelSpec) -> str:
    rows = "\n".join(_row(source, metrics) for source, metrics in spec.metrics.items())
    return f"""\
## Validation split, each photo at its own resolution

`python -m training.evaluation.masks model_repository/{spec.name} --data DATA`;
percent, threshold 0.5.

| source | photos | mIoU, image mean | IoU person | mIoU, dataset | accuracy | SC | contour |
|---|---|---|---|---|---|---|---|
{rows}"""


def _faces_output(spec: ModelSpec) -> str:
    cells = spec.output.shape[1]
    return f"`faces` float32 [N,{cells},5]: score, top, left, height, width, 0..1 of the input"


def _faces_figures(spec: ModelSpec) -> str:
    rows = "\n".join(
        f"| {label} | {figure} | {value:.4g} |"
        for label, figures in spec.metrics.items()
        for figure, value in figures.items()
    )
    return f"""\
## Validation split, dominant face of each photo

`python -m training.evaluation.faces model_repository/{spec.name} --data DATA`;
shares 0..1; a face counts as found from an IoU of 0.5 with the reference.

| domain | figure | value |
|---|---|---|
{rows}"""


def _row(source: str, metrics: dict[str, float]) -> str:
    names = (
        "miou_image_mean",
        "iou_fg_image_mean",
        "miou_dataset",
        "pixel_accuracy",
        "connectivity",
        "contour_accuracy",
    )
    figures = " | ".join(f"{metrics[name]:.2f}" for name in names)
    return f"| {source} | {metrics['photos']:.0f} | {figures} |"
