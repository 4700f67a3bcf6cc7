"""CARD.md beside a model: what it is, what it was measured to do, where it came from."""

import shutil
from pathlib import Path

from service.spec import ModelSpec

TITLES = {
    "connectnet": "ConnectNet (PP-HumanSeg, WACVW 2022), 131,766 parameters",
    "rcrnet": "RCRNet star, 781,304 parameters in training, 763,376 served",
    "md_trisenet": "MD-TriSeNet on Xception39, 2,968,181 parameters in training, 2,894,260 served",
}

EXTRAS = {
    "prior": "; `prior` uint8, the previous frame's alpha or zeros",
    "domain": "; `domain` int64 [N], 0 far shot .. 5 no face, any other value is 5",
}

NOTES = "NOTES.md"
"""Kept by hand beside the card and carried into it: comparisons, limits, history."""


def write_card(spec: ModelSpec, folder: Path, curve: Path) -> None:
    """Generated from the spec, with the curve of the run and the hand-kept notes."""
    if curve.exists():
        shutil.copy(curve, folder / "curve.png")
    notes = folder / NOTES
    text = card(spec) + ("\n" + notes.read_text() if notes.exists() else "")
    (folder / "CARD.md").write_text(text)


def card(spec: ModelSpec) -> str:
    height, width = spec.size_hw
    extras = "".join(EXTRAS[tensor.name] for tensor in spec.inputs[1:])
    rows = "\n".join(_row(source, metrics) for source, metrics in spec.metrics.items())
    return f"""\
# {TITLES.get(spec.name, spec.name)}

| | |
|---|---|
| input | `image` uint8 [N,{height},{width},3] RGB, resize rule `{spec.resize}`{extras} |
| output | `alpha` uint8 [N,{height},{width}], 255 x the probability of person |
| precision | {spec.precision} |
| sha256 | `{spec.sha256}` |
| training run | `{spec.run}` (`training/recipes/{spec.run}.toml`) |
| licence | {spec.licence} |

## Validation split, each photo at its own resolution

`python -m training.evaluate model_repository/{spec.name} --data DATA`; percent, threshold 0.5.

| source | photos | mIoU, image mean | IoU person | mIoU, dataset | accuracy | SC | contour |
|---|---|---|---|---|---|---|---|
{rows}

![training curve](curve.png)
"""


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
