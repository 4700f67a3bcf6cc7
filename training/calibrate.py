"""Calibrates mask confidence and the no-person rule against labelled photos.

    python -m training.calibrate --data DATA

The command reads photos of the training split. `silhouette_seg.vision.mask.quality` takes its
constants `CALIBRATION`, `PERSON_SHARE` and `PERSON_CERTAINTY` from it;
`training.report.calibration` measures them on the validation split.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from silhouette_seg.pipeline.faces import Domain, domain_of, dominant_face
from silhouette_seg.spec import ModelSpec, ModelTask
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import fit, inside, resize
from silhouette_seg.vision.mask.quality import (
    MaskQuality,
    boundary_band,
    is_person,
    measure_quality,
    person_pixels,
)
from training.data.dataset import Portrait, read_backgrounds, read_frame, read_portraits
from training.evaluation.faces import BACKGROUND, FindFaces, find_by_model
from training.evaluation.onnx_model import open_onnx
from training.evaluation.specs import find_specs

Alpha = NDArray[np.uint8]
Draw = Callable[[Frame, Domain], Alpha]
"""A photo, taken for one of that domain, to a model's mask uint8 [h,w] as the model gave it."""

USEFUL = 0.5
"""IoU from which a mask is of use, and its photo must not be called empty."""
SHARES = (0.005, 0.01, 0.015, 0.02)
DECIDED = (0.3, 0.34, 0.36, 0.38, 0.4, 0.42, 0.45)
"""Tried as `PERSON_SHARE` and `PERSON_CERTAINTY`."""


@dataclass(frozen=True, slots=True)
class Look:
    """One photo as one model sees it."""

    model: str
    group: str
    """The photo's domain, by the reference; `BACKGROUND` where there is nobody."""
    quality: MaskQuality
    right: float | None
    """Share of the boundary band where mask and reference agree; None where one of them is not."""
    iou: float = 0.0
    """Of mask and reference."""

    @property
    def person(self) -> bool:
        """Whether there is somebody in the photo."""
        return self.group != BACKGROUND


def look(
    specs: Sequence[ModelSpec],
    repository: Path,
    find: FindFaces | None,
    portraits: Sequence[Portrait],
    backgrounds: Sequence[Path],
) -> list[Look]:
    """Every photo by every model, with the domain that the service would tell it."""
    draws = {spec.name: _open(spec, repository) for spec in specs}
    sides = [spec.size_hw for spec in specs]
    at_least = max(height for height, _ in sides), max(width for _, width in sides)
    photos: list[tuple[Path, Portrait | None]] = [(each.image, each) for each in portraits]
    photos += [(path, None) for path in backgrounds]
    looks = []
    for path, portrait in track(photos, "trust", console=Console(stderr=True), transient=True):
        frame = read_frame(path, at_least=at_least)
        face = dominant_face(find(frame.rgb)) if find else None
        domain = domain_of(face.ratio if face else 0.0)
        truth = portrait.truth() if portrait else None
        group = portrait.domain.label if portrait else BACKGROUND
        for name, draw in draws.items():
            alpha = draw(frame, domain)
            right, iou = (None, 0.0) if truth is None else compare(alpha, truth)
            looks.append(Look(name, group, measure_quality(alpha), right, iou))
    return looks


def compare(alpha: Alpha, truth: Alpha) -> tuple[float | None, float]:
    """`Look.right` and `Look.iou`; the reference uint8 [H,W] is reduced to the mask's size."""
    person = person_pixels(alpha)
    there = person_pixels(resize(truth, (alpha.shape[0], alpha.shape[1])))
    band = boundary_band(person) > 0
    right = float((person == there)[band].mean()) if band.any() else None
    both, either = (int(np.count_nonzero(each)) for each in (person & there, person | there))
    return right, both / max(1, either)


def _open(spec: ModelSpec, repository: Path) -> Draw:
    predict = open_onnx(spec.model_file(repository))

    def draw(frame: Frame, domain: Domain) -> Alpha:
        image, placement = fit(frame.rgb, spec.size_hw, spec.resize)
        inputs: dict[str, NDArray[Any]] = {"image": image[None]}
        if spec.has_input("prior"):
            inputs["prior"] = np.zeros((1, *spec.size_hw), np.uint8)
        if spec.has_input("domain"):
            inputs["domain"] = np.array([domain], np.int64)
        return np.ascontiguousarray(predict(inputs)[0][inside(placement)])

    return draw


def line_through(looks: Sequence[Look]) -> tuple[float, float]:
    """Height at 0 and slope of the line from `boundary_certainty` to `right`, by least squares."""
    known = [
        (each.quality.boundary_certainty, each.right) for each in looks if each.right is not None
    ]
    decided, right = np.array(known).T
    slope, height = np.polyfit(decided, right, 1)
    return float(height), float(slope)


def rules_table(looks: Sequence[Look]) -> Table:
    """For each rule and model: scenes with an alarm in percent, and photos of people that are
    lost, those with a mask of use in brackets.
    """
    models = list(dict.fromkeys(each.model for each in looks))
    table = Table("sure share", "sure decided", *models)
    for share, decided in product(SHARES, DECIDED):
        by_model = [[each for each in looks if each.model == model] for model in models]
        cells = [_cell(seen, share, decided) for seen in by_model]
        table.add_row(f"{share:g}", f"{decided:g}", *cells)
    return table


def _cell(looks: Sequence[Look], share: float, decided: float) -> str:
    found = [is_person(each.quality, share, decided) for each in looks]
    pairs = list(zip(looks, found, strict=True))
    alarms = [there for each, there in pairs if not each.person]
    lost = [each.iou >= USEFUL for each, there in pairs if each.person and not there]
    return f"{100 * sum(alarms) / max(1, len(alarms)):.1f} %, {len(lost)} ({sum(lost)})"


def main(
    data: Annotated[Path, typer.Option(help="the data pack")],
    repository: Annotated[Path, typer.Option()] = Path("model_repository"),
    every: Annotated[int, typer.Option(help="one photo of a person of so many")] = 8,
) -> None:
    """Prints what the constants of `silhouette_seg.vision.mask.quality` were chosen by."""
    cv2.setNumThreads(1)
    specs = find_specs(repository, ModelTask.SEGMENTATION)
    (detector,) = find_specs(repository, ModelTask.FACES)
    predict = open_onnx(detector.model_file(repository))
    find = find_by_model(predict, size_hw=detector.size_hw, resize=detector.resize)
    portraits = read_portraits(data, "train")[::every]
    looks = look(specs, repository, find, portraits, read_backgrounds(data, "train"))
    console = Console()
    for name in ("", *(spec.name for spec in specs)):
        height, slope = line_through([each for each in looks if name in ("", each.model)])
        console.print(f"{name or 'all models'}: {height:.3f} + {slope:.3f} * decided")
    console.print(rules_table(looks))


if __name__ == "__main__":
    typer.run(main)
