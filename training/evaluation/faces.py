"""Measures the face detector on labelled photos and on scenes without a person, beside OpenCV.

    python -m training.evaluation.faces model_repository/face_detector --data DATA
    python -m training.evaluation.faces model_repository/face_detector --data DATA --thresholds

The second tries score thresholds on the training photos, from which the one of
`silhouette_seg.pipeline.faces` was chosen. The chosen threshold is the best when every domain and
the backgrounds count the same.
OpenCV 5 has no cascade any more; with `pip install --target DIR "opencv-python-headless<5"` and
PYTHONPATH=DIR it is measured too.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from silhouette_seg.pipeline.faces import (
    MIN_SCORE,
    Domain,
    Face,
    domain_of,
    dominant_face,
    find_faces,
)
from silhouette_seg.spec import ResizeRule, load_spec
from silhouette_seg.vision.geometry import Size, fit
from training.data.dataset import FaceBox, Portrait, read_backgrounds, read_frame, read_portraits
from training.evaluation.onnx_model import Predict, Tensors, open_onnx
from training.models.face_detector import DeployedFaceDetector

FindFaces = Callable[[NDArray[np.uint8]], list[Face]]
"""A photo uint8 [H,W,3] RGB to its faces."""

MIN_TRIED_SCORE = 0.02
"""Score from which faces are noted when thresholds are to be tried."""
MIN_FOUND_IOU = 0.5
"""IoU with the reference from which a face is found."""
SCORE_THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found in one photo."""

    source: str
    reference: FaceBox | None
    faces: tuple[Face, ...]
    seconds: float


BACKGROUND = "backgrounds"
"""Source of the photos without a person."""


@dataclass(frozen=True, slots=True)
class FaceReport:
    """Figures of one detector; shares are of photos, 0..1."""

    photos: int
    """With a person; backgrounds are none of them."""
    box_iou: float
    """IoU of the dominant face with the reference's, mean over photos with one; 0 if missed."""
    found_iou: float
    """The same over the faces found."""
    recall: dict[str, float]
    """Share of the reference's faces found, by domain and under `all`."""
    precision: float
    """Share of all photos with an answer, backgrounds included, in which it is the reference's."""
    backgrounds: int
    false_alarms: float
    """Share of backgrounds in which a face was seen."""
    no_face_alarms: float
    """Share of photos of a person, but without a reference face, in which one was seen."""
    agreement: float
    """Share of photos whose domain is the reference's."""
    neighbours: float
    """Share of photos sent to the domain next to the reference's, nearer or farther."""
    confusion: tuple[tuple[int, ...], ...]
    """[reference][answer], photos by domain."""
    milliseconds: float
    """Median processor time from pixels to boxes, which others on the machine do not lengthen."""

    def spec_metrics(self) -> dict[str, dict[str, float]]:
        """For spec.json: recall by domain, the rest under `all`; times are the machine's."""
        by_domain = {label: {"recall": share} for label, share in self.recall.items()}
        by_domain[OVERALL] |= {
            "photos": self.photos,
            "agreement": self.agreement,
            "neighbours": self.neighbours,
            "precision": self.precision,
            "box_iou": self.box_iou,
            "found_iou": self.found_iou,
            "backgrounds": self.backgrounds,
            "false_alarms": self.false_alarms,
            "no_face_alarms": self.no_face_alarms,
        }
        return by_domain

    def history_metrics(self) -> dict[str, float]:
        """What a training run plots."""
        return {
            "val/recall": self.recall[OVERALL],
            "val/box_iou": self.box_iou,
            "val/agreement": self.agreement,
            "val/alarms": self.false_alarms,
        }


OVERALL = "all"


def measure_faces(
    find: FindFaces, portraits: Sequence[Portrait], backgrounds: Sequence[Path]
) -> FaceReport:
    """The report on labelled photos, and on photos in which nobody is."""
    return summarise_detections(detect_all(find, portraits, backgrounds))


def detect_all(
    find: FindFaces, portraits: Sequence[Portrait], backgrounds: Sequence[Path]
) -> list[Detection]:
    """Runs the detector on each photo."""
    photos = [(each.source, each.image, each.face) for each in portraits]
    photos += [(BACKGROUND, path, None) for path in backgrounds]
    sightings = []
    for source, path, reference in track(
        photos, "looking", console=Console(stderr=True), transient=True
    ):
        rgb = read_frame(path).rgb
        began = time.process_time()
        faces = tuple(find(rgb))
        seconds = time.process_time() - began
        sightings.append(Detection(source, reference, faces, seconds))
    return sightings


def summarise_detections(sightings: Sequence[Detection], min_score: float = 0.0) -> FaceReport:
    """Counts only faces of at least that score: the same as finding them with that threshold."""
    answers = [
        (each, dominant_face([face for face in each.faces if face.score >= min_score]))
        for each in sightings
    ]
    people = [(each.reference, face) for each, face in answers if each.source != BACKGROUND]
    scenes = [face for each, face in answers if each.source == BACKGROUND]
    ious = ious_by_domain(people)
    every = np.array([value for values in ious.values() for value in values])
    found = every > MIN_FOUND_IOU
    confusion = confusion_matrix(people)
    near = confusion[: Domain.NO_FACE, : Domain.NO_FACE]
    said = sum(face is not None for _, face in answers)
    return FaceReport(
        photos=len(people),
        box_iou=_mean(every),
        found_iou=_mean(every[found]),
        recall={
            domain.label: _mean(np.array(ious[domain]) > MIN_FOUND_IOU) for domain in sorted(ious)
        }
        | {OVERALL: _mean(found)},
        precision=float(found.sum() / max(1, said)),
        backgrounds=len(scenes),
        false_alarms=_mean([face is not None for face in scenes]),
        no_face_alarms=_mean([face is not None for wanted, face in people if wanted is None]),
        agreement=float(confusion.trace() / max(1, len(people))),
        neighbours=float((near.trace(1) + near.trace(-1)) / max(1, len(people))),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        milliseconds=float(np.median([each.seconds for each in sightings]) * 1000),
    )


FacePairs = Sequence[tuple[FaceBox | None, Face | None]]
"""The reference's face and the detector's, photo by photo."""


def ious_by_domain(answers: FacePairs) -> dict[Domain, list[float]]:
    """IoU with each of the reference's faces by domain; 0 where none was seen."""
    ious: dict[Domain, list[float]] = {}
    for wanted, face in answers:
        if wanted:
            ious.setdefault(domain_of(wanted.ratio), []).append(
                box_iou(face, wanted) if face else 0.0
            )
    return ious


def confusion_matrix(answers: FacePairs) -> NDArray[np.int_]:
    """[reference's domain, detector's domain], photos."""
    counts = np.zeros((len(Domain), len(Domain)), int)
    for wanted, face in answers:
        counts[_domain(wanted), _domain(face)] += 1
    return counts


def _domain(face: FaceBox | Face | None) -> Domain:
    return domain_of(face.ratio if face else 0.0)


def box_iou(face: Face, reference: FaceBox) -> float:
    """Of two boxes in shares of one photo."""
    height = min(face.top + face.height, reference.y + reference.h) - max(face.top, reference.y)
    width = min(face.left + face.width, reference.x + reference.w) - max(face.left, reference.x)
    shared = max(0.0, height) * max(0.0, width)
    return shared / (face.ratio + reference.ratio - shared)


def find_by_model(
    predict: Predict, *, size_hw: Size, resize: ResizeRule, min_score: float = MIN_SCORE
) -> FindFaces:
    """An exported detector with the service's own routing."""

    def find(rgb: NDArray[np.uint8]) -> list[Face]:
        image, placement = fit(rgb, size_hw, resize)
        (row,) = predict({"image": image[None]})
        return find_faces(row, placement, min_score=min_score)

    return find


def find_by_network(network: nn.Module, *, size_hw: Size, resize: ResizeRule) -> FindFaces:
    """A torch network, put into evaluation mode."""
    deployed = DeployedFaceDetector(network).eval()
    device = next(network.parameters()).device

    def predict(inputs: Tensors) -> NDArray[np.float32]:
        with torch.inference_mode():
            answer = deployed(torch.from_numpy(inputs["image"]).to(device))
        return np.asarray(answer.cpu().numpy())

    return find_by_model(predict, size_hw=size_hw, resize=resize)


def find_by_cascade() -> FindFaces | None:
    """OpenCV's frontal face cascade with its usual settings, as the baseline; None where this
    OpenCV has none.
    """
    if not hasattr(cv2, "CascadeClassifier"):
        return None
    file = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
    cascade = cv2.CascadeClassifier(str(file))

    def find(rgb: NDArray[np.uint8]) -> list[Face]:
        height, width = rgb.shape[:2]
        grey = cv2.equalizeHist(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
        boxes = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=(12, 12))
        return [Face(y / height, x / width, h / height, w / width, 1.0) for x, y, w, h in boxes]

    return find


def summary_table(reports: dict[str, FaceReport]) -> Table:
    """Detectors side by side."""
    table = Table("", *reports)
    columns = list(reports.values())

    def row(name: str, figure: Callable[[FaceReport], float], unit: str = "{:.1%}") -> None:
        table.add_row(name, *(unit.format(figure(report)) for report in columns))

    row("domain is the reference's", lambda report: report.agreement)
    row("domain next to it", lambda report: report.neighbours)
    for label in columns[0].recall:
        row(f"recall {label}", lambda report, label=label: report.recall[label])  # type: ignore[misc]
    row("precision", lambda report: report.precision)
    row("box IoU", lambda report: report.box_iou, "{:.3f}")
    row("box IoU of those found", lambda report: report.found_iou, "{:.3f}")
    row("alarms on backgrounds", lambda report: report.false_alarms)
    row("alarms on people without a face", lambda report: report.no_face_alarms)
    row("median processor time", lambda report: report.milliseconds, "{:.1f} ms")
    return table


def confusion_table(report: FaceReport) -> Table:
    """Reference down, answers across."""
    table = Table("reference", *(domain.label for domain in Domain))
    for domain, counts in zip(Domain, report.confusion, strict=True):
        table.add_row(domain.label, *map(str, counts))
    return table


def threshold_table(sightings: Sequence[Detection]) -> Table:
    """What each score threshold would do; the first figure is the one to choose by."""
    table = Table("score", "balanced", "domain agreement", "recall", "alarms", "without a face")
    for min_score in SCORE_THRESHOLDS:
        report = summarise_detections(sightings, min_score)
        figures = (
            balanced_accuracy(report),
            report.agreement,
            report.recall[OVERALL],
            report.false_alarms,
            report.no_face_alarms,
        )
        table.add_row(f"{min_score}", *(f"{figure:.1%}" for figure in figures))
    return table


def balanced_accuracy(report: FaceReport) -> float:
    """Share of right answers, each domain and the backgrounds counting the same."""
    right = [counts[k] / sum(counts) for k, counts in enumerate(report.confusion) if any(counts)]
    return _mean([*right, 1 - report.false_alarms])


def _mean(values: NDArray[np.float64] | NDArray[np.bool_] | Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def main(
    model: Annotated[Path, typer.Argument(help="the detector's folder in model_repository/")],
    data: Annotated[Path, typer.Option(help="the data pack")],
    thresholds: Annotated[bool, typer.Option(help="try some on the training photos")] = False,
) -> None:
    """Measures the detector and OpenCV's cascade on the validation split."""
    cv2.setNumThreads(1)
    spec = load_spec(model)
    predict = open_onnx(spec.model_file(model.parent))
    console = Console()
    if thresholds:
        find = find_by_model(
            predict, size_hw=spec.size_hw, resize=spec.resize, min_score=MIN_TRIED_SCORE
        )
        sightings = detect_all(find, read_portraits(data, "train"), read_backgrounds(data, "train"))
        console.print(threshold_table(sightings))
        return
    portraits, backgrounds = read_portraits(data, "val"), read_backgrounds(data, "val")
    find = find_by_model(predict, size_hw=spec.size_hw, resize=spec.resize)
    reports = {spec.name: measure_faces(find, portraits, backgrounds)}
    if cascade := find_by_cascade():
        reports["OpenCV cascade"] = measure_faces(cascade, portraits, backgrounds)
    console.print(summary_table(reports))
    for name, report in reports.items():
        console.print(name, confusion_table(report))


if __name__ == "__main__":
    typer.run(main)
