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
from training.evaluation.faces import BACKGROUND, DetectFaces, detector_from_model
from training.evaluation.onnx_model import open_onnx
from training.evaluation.specs import find_specs
from training.options import DEFAULT_REPOSITORY, DataPack, Repository

Alpha = NDArray[np.uint8]
PredictMask = Callable[[Frame, Domain], Alpha]
"""Maps a photo and its domain to the model's mask uint8 [h,w], at the resolution of the model."""

USEFUL_IOU = 0.5
"""Smallest IoU of a useful mask; its photo must not be classified as empty."""
PERSON_SHARES = (0.005, 0.01, 0.015, 0.02)
PERSON_CERTAINTIES = (0.3, 0.34, 0.36, 0.38, 0.4, 0.42, 0.45)
"""Candidate values of `PERSON_SHARE` and `PERSON_CERTAINTY`."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Result of one model for one photo."""

    model: str
    group: str
    """Domain of the photo by the reference; `BACKGROUND` for a photo without a person."""
    quality: MaskQuality
    boundary_accuracy: float | None
    """Share of the boundary band where mask and reference agree; None without a boundary."""
    iou: float = 0.0
    """IoU of mask and reference."""

    @property
    def person(self) -> bool:
        """True if the photo contains a person."""
        return self.group != BACKGROUND


def observe(
    specs: Sequence[ModelSpec],
    repository: Path,
    detect_faces: DetectFaces | None,
    portraits: Sequence[Portrait],
    backgrounds: Sequence[Path],
) -> list[Observation]:
    """Runs every model on every photo, with the domain that the service would pass to it."""
    predictors = {spec.name: _open_model(spec, repository) for spec in specs}
    sizes_hw = [spec.size_hw for spec in specs]
    min_size = max(height for height, _ in sizes_hw), max(width for _, width in sizes_hw)
    photos: list[tuple[Path, Portrait | None]] = [
        (portrait.image, portrait) for portrait in portraits
    ]
    photos += [(path, None) for path in backgrounds]
    observations = []
    for path, portrait in track(
        photos, "calibrating", console=Console(stderr=True), transient=True
    ):
        frame = read_frame(path, min_size=min_size)
        face = dominant_face(detect_faces(frame.rgb)) if detect_faces else None
        domain = domain_of(face.ratio if face else 0.0)
        truth = portrait.truth() if portrait else None
        group = portrait.domain.label if portrait else BACKGROUND
        for name, predict_mask in predictors.items():
            alpha = predict_mask(frame, domain)
            boundary_accuracy, iou = (None, 0.0) if truth is None else compare_masks(alpha, truth)
            observations.append(
                Observation(name, group, measure_quality(alpha), boundary_accuracy, iou)
            )
    return observations


def compare_masks(alpha: Alpha, truth: Alpha) -> tuple[float | None, float]:
    """Returns `Observation.boundary_accuracy` and `Observation.iou`.

    The reference uint8 [H,W] is resized to the mask's size.
    """
    person = person_pixels(alpha)
    truth_person = person_pixels(resize(truth, (alpha.shape[0], alpha.shape[1])))
    band = boundary_band(person) > 0
    boundary_accuracy = float((person == truth_person)[band].mean()) if band.any() else None
    intersection, union = (
        int(np.count_nonzero(pixels)) for pixels in (person & truth_person, person | truth_person)
    )
    return boundary_accuracy, intersection / max(1, union)


def _open_model(spec: ModelSpec, repository: Path) -> PredictMask:
    predict = open_onnx(spec.model_file(repository))

    def predict_mask(frame: Frame, domain: Domain) -> Alpha:
        image, placement = fit(frame.rgb, spec.size_hw, spec.resize)
        inputs: dict[str, NDArray[Any]] = {"image": image[None]}
        if spec.has_input("prior"):
            inputs["prior"] = np.zeros((1, *spec.size_hw), np.uint8)
        if spec.has_input("domain"):
            inputs["domain"] = np.array([domain], np.int64)
        return np.ascontiguousarray(predict(inputs)[0][inside(placement)])

    return predict_mask


def fit_line(observations: Sequence[Observation]) -> tuple[float, float]:
    """Fits `boundary_accuracy` as a line over `boundary_certainty`, by least squares.

    Returns its value at 0 and its slope.
    """
    points = [
        (observation.quality.boundary_certainty, observation.boundary_accuracy)
        for observation in observations
        if observation.boundary_accuracy is not None
    ]
    certainties, accuracies = np.array(points).T
    slope, intercept = np.polyfit(certainties, accuracies, 1)
    return float(intercept), float(slope)


def rules_table(observations: Sequence[Observation]) -> Table:
    """Tabulates false alarms and lost people for each rule and model.

    A cell has the scenes with a false alarm in percent, then the number of lost photos of people,
    with those of a useful mask in brackets.
    """
    models = list(dict.fromkeys(observation.model for observation in observations))
    table = Table("person share", "person certainty", *models)
    for share, certainty in product(PERSON_SHARES, PERSON_CERTAINTIES):
        by_model = [
            [observation for observation in observations if observation.model == model]
            for model in models
        ]
        cells = [_error_counts(group, share, certainty) for group in by_model]
        table.add_row(f"{share:g}", f"{certainty:g}", *cells)
    return table


def _error_counts(observations: Sequence[Observation], share: float, certainty: float) -> str:
    verdicts = [is_person(observation.quality, share, certainty) for observation in observations]
    classified = list(zip(observations, verdicts, strict=True))
    alarms = [positive for observation, positive in classified if not observation.person]
    lost = [
        observation.iou >= USEFUL_IOU
        for observation, positive in classified
        if observation.person and not positive
    ]
    return f"{100 * sum(alarms) / max(1, len(alarms)):.1f} %, {len(lost)} ({sum(lost)})"


def main(
    data: DataPack,
    repository: Repository = DEFAULT_REPOSITORY,
    every: Annotated[int, typer.Option(help="Use every n-th photo of a person.")] = 8,
) -> None:
    """Prints the figures behind the constants of `silhouette_seg.vision.mask.quality`."""
    cv2.setNumThreads(1)
    specs = find_specs(repository, ModelTask.SEGMENTATION)
    (detector,) = find_specs(repository, ModelTask.FACES)
    predict = open_onnx(detector.model_file(repository))
    detect_faces = detector_from_model(predict, size_hw=detector.size_hw, resize=detector.resize)
    portraits = read_portraits(data, "train")[::every]
    observations = observe(
        specs, repository, detect_faces, portraits, read_backgrounds(data, "train")
    )
    console = Console()
    for name in ("", *(spec.name for spec in specs)):
        intercept, slope = fit_line(
            [observation for observation in observations if name in ("", observation.model)]
        )
        console.print(f"{name or 'all models'}: {intercept:.3f} + {slope:.3f} * boundary_certainty")
    console.print(rules_table(observations))


if __name__ == "__main__":
    typer.run(main)
