"""Measures the face detector and OpenCV's cascade on labelled photos and on scenes.

    python -m training.evaluation.faces model_repository/face_detector --data DATA
    python -m training.evaluation.faces model_repository/face_detector --data DATA --thresholds

Scenes contain no person. `--thresholds` compares score thresholds on the training photos. The
threshold of `silhouette_seg.pipeline.faces` is the best of them with equal weight for every domain
and the backgrounds. OpenCV 5 no longer has a cascade. The cascade is measured too with
`pip install --target DIR "opencv-python-headless<5"` and PYTHONPATH=DIR.
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
from training.options import DataPack

DetectFaces = Callable[[NDArray[np.uint8]], list[Face]]
"""Maps a photo uint8 [H,W,3] RGB to its faces."""

MIN_RECORDED_SCORE = 0.02
"""Minimum score of a recorded face when thresholds are compared."""
MIN_FOUND_IOU = 0.5
"""Minimum IoU with the reference box at which a face counts as found."""
SCORE_THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)


@dataclass(frozen=True, slots=True)
class Detection:
    """Faces that a detector returned for one photo, beside the reference face."""

    source: str
    reference: FaceBox | None
    faces: tuple[Face, ...]
    seconds: float


BACKGROUND = "backgrounds"
"""Source name of the photos without a person."""


@dataclass(frozen=True, slots=True)
class FaceReport:
    """Metrics of one detector; shares are of photos, 0..1."""

    photos: int
    """Number of photos with a person; backgrounds are not included."""
    box_iou: float
    """Mean IoU of the dominant face with the reference, over photos with a reference face.

    A missed face counts as 0.
    """
    found_iou: float
    """Mean IoU with the reference over the faces found."""
    recall: dict[str, float]
    """Share of the reference faces found, by domain and under `all`."""
    precision: float
    """Share of correct detections among all photos with a detection, backgrounds included."""
    backgrounds: int
    false_alarms: float
    """Share of backgrounds with a detected face."""
    no_face_alarms: float
    """Share of photos of a person without a reference face in which a face was detected."""
    agreement: float
    """Share of photos assigned to the domain of the reference."""
    neighbours: float
    """Share of photos assigned to a domain next to that of the reference, nearer or farther."""
    confusion: tuple[tuple[int, ...], ...]
    """Photos by domain, as [reference][detected]."""
    milliseconds: float
    """Median processor time from pixels to boxes; it excludes other load on the machine."""

    def spec_metrics(self) -> dict[str, dict[str, float]]:
        """Returns the metrics for spec.json: recall by domain, the rest under `all`.

        Times are left out, because they depend on the machine.
        """
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
        """Returns the metrics that a training run plots."""
        return {
            "val/recall": self.recall[OVERALL],
            "val/box_iou": self.box_iou,
            "val/agreement": self.agreement,
            "val/alarms": self.false_alarms,
        }


OVERALL = "all"


def measure_faces(
    detect_faces: DetectFaces, portraits: Sequence[Portrait], backgrounds: Sequence[Path]
) -> FaceReport:
    """Measures a detector on labelled photos and on photos without a person."""
    return summarise_detections(detect_all(detect_faces, portraits, backgrounds))


def detect_all(
    detect_faces: DetectFaces, portraits: Sequence[Portrait], backgrounds: Sequence[Path]
) -> list[Detection]:
    """Runs the detector on each photo and measures its processor time."""
    photos = [(portrait.source, portrait.image, portrait.face) for portrait in portraits]
    photos += [(BACKGROUND, path, None) for path in backgrounds]
    detections = []
    for source, path, reference in track(
        photos, "detecting", console=Console(stderr=True), transient=True
    ):
        rgb = read_frame(path).rgb
        start = time.process_time()
        faces = tuple(detect_faces(rgb))
        seconds = time.process_time() - start
        detections.append(Detection(source, reference, faces, seconds))
    return detections


def summarise_detections(detections: Sequence[Detection], min_score: float = 0.0) -> FaceReport:
    """Summarises detections, counting only faces with a score of at least `min_score`.

    The result equals that of a detector with this threshold.
    """
    pairs = [
        (detection, dominant_face([face for face in detection.faces if face.score >= min_score]))
        for detection in detections
    ]
    people = [
        (detection.reference, face) for detection, face in pairs if detection.source != BACKGROUND
    ]
    scenes = [face for detection, face in pairs if detection.source == BACKGROUND]
    ious = ious_by_domain(people)
    all_ious = np.array([iou for domain_ious in ious.values() for iou in domain_ious])
    is_found = all_ious > MIN_FOUND_IOU
    confusion = confusion_matrix(people)
    confusion_with_face = confusion[: Domain.NO_FACE, : Domain.NO_FACE]
    detected_count = sum(face is not None for _, face in pairs)
    return FaceReport(
        photos=len(people),
        box_iou=_mean(all_ious),
        found_iou=_mean(all_ious[is_found]),
        recall={
            domain.label: _mean(np.array(ious[domain]) > MIN_FOUND_IOU) for domain in sorted(ious)
        }
        | {OVERALL: _mean(is_found)},
        precision=float(is_found.sum() / max(1, detected_count)),
        backgrounds=len(scenes),
        false_alarms=_mean([face is not None for face in scenes]),
        no_face_alarms=_mean([face is not None for reference, face in people if reference is None]),
        agreement=float(confusion.trace() / max(1, len(people))),
        neighbours=float(
            (confusion_with_face.trace(1) + confusion_with_face.trace(-1)) / max(1, len(people))
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        milliseconds=float(np.median([detection.seconds for detection in detections]) * 1000),
    )


FacePairs = Sequence[tuple[FaceBox | None, Face | None]]
"""The reference face and the detected face of each photo."""


def ious_by_domain(pairs: FacePairs) -> dict[Domain, list[float]]:
    """Returns the IoU with each reference face, by domain; 0 for a missed face."""
    ious: dict[Domain, list[float]] = {}
    for reference, face in pairs:
        if reference:
            ious.setdefault(domain_of(reference.ratio), []).append(
                box_iou(face, reference) if face else 0.0
            )
    return ious


def confusion_matrix(pairs: FacePairs) -> NDArray[np.int_]:
    """Counts photos as [reference domain, detected domain]."""
    counts = np.zeros((len(Domain), len(Domain)), int)
    for reference, face in pairs:
        counts[_domain(reference), _domain(face)] += 1
    return counts


def _domain(face: FaceBox | Face | None) -> Domain:
    return domain_of(face.ratio if face else 0.0)


def box_iou(face: Face, reference: FaceBox) -> float:
    """Returns the IoU of two boxes, both in shares of one photo."""
    height = min(face.top + face.height, reference.y + reference.h) - max(face.top, reference.y)
    width = min(face.left + face.width, reference.x + reference.w) - max(face.left, reference.x)
    shared = max(0.0, height) * max(0.0, width)
    return shared / (face.ratio + reference.ratio - shared)


def detector_from_model(
    predict: Predict, *, size_hw: Size, resize: ResizeRule, min_score: float = MIN_SCORE
) -> DetectFaces:
    """Returns a function that runs an exported detector with the service's own face routing."""

    def detect_faces(rgb: NDArray[np.uint8]) -> list[Face]:
        image, placement = fit(rgb, size_hw, resize)
        (row,) = predict({"image": image[None]})
        return find_faces(row, placement, min_score=min_score)

    return detect_faces


def detector_from_network(network: nn.Module, *, size_hw: Size, resize: ResizeRule) -> DetectFaces:
    """Returns a function that runs a torch network, which is put into evaluation mode."""
    deployed = DeployedFaceDetector(network).eval()
    device = next(network.parameters()).device

    def predict(inputs: Tensors) -> NDArray[np.float32]:
        with torch.inference_mode():
            output = deployed(torch.from_numpy(inputs["image"]).to(device))
        return np.asarray(output.cpu().numpy())

    return detector_from_model(predict, size_hw=size_hw, resize=resize)


def detector_from_cascade() -> DetectFaces | None:
    """Returns OpenCV's frontal face cascade with its usual settings, as the baseline.

    Returns None if this OpenCV has no cascade.
    """
    if not hasattr(cv2, "CascadeClassifier"):
        return None
    file = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
    cascade = cv2.CascadeClassifier(str(file))

    def detect_faces(rgb: NDArray[np.uint8]) -> list[Face]:
        height, width = rgb.shape[:2]
        grey = cv2.equalizeHist(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
        boxes = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=(12, 12))
        return [Face(y / height, x / width, h / height, w / width, 1.0) for x, y, w, h in boxes]

    return detect_faces


def summary_table(reports: dict[str, FaceReport]) -> Table:
    """Lists the metrics of several detectors side by side."""
    table = Table("", *reports)
    columns = list(reports.values())

    def row(name: str, metric: Callable[[FaceReport], float], form: str = "{:.1%}") -> None:
        table.add_row(name, *(form.format(metric(report)) for report in columns))

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
    """Lists the confusion matrix: reference domains as rows, detected domains as columns."""
    table = Table("reference", *(domain.label for domain in Domain))
    for domain, counts in zip(Domain, report.confusion, strict=True):
        table.add_row(domain.label, *map(str, counts))
    return table


def threshold_table(detections: Sequence[Detection]) -> Table:
    """Lists metrics for each score threshold; the threshold is chosen by the first column."""
    table = Table("score", "balanced", "domain agreement", "recall", "alarms", "without a face")
    for min_score in SCORE_THRESHOLDS:
        report = summarise_detections(detections, min_score)
        metrics = (
            balanced_accuracy(report),
            report.agreement,
            report.recall[OVERALL],
            report.false_alarms,
            report.no_face_alarms,
        )
        table.add_row(f"{min_score}", *(f"{value:.1%}" for value in metrics))
    return table


def balanced_accuracy(report: FaceReport) -> float:
    """Returns the accuracy with equal weight for each domain and for the backgrounds, 0..1."""
    accuracies = [
        counts[k] / sum(counts) for k, counts in enumerate(report.confusion) if any(counts)
    ]
    return _mean([*accuracies, 1 - report.false_alarms])


def _mean(values: NDArray[np.float64] | NDArray[np.bool_] | Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def main(
    model: Annotated[
        Path, typer.Argument(help="Folder of the face detector in model_repository/.")
    ],
    data: DataPack,
    thresholds: Annotated[
        bool, typer.Option(help="Compare score thresholds on the training photos.")
    ] = False,
) -> None:
    """Measures the detector and OpenCV's cascade on the validation split."""
    cv2.setNumThreads(1)
    spec = load_spec(model)
    predict = open_onnx(spec.model_file(model.parent))
    console = Console()
    if thresholds:
        detect_faces = detector_from_model(
            predict, size_hw=spec.size_hw, resize=spec.resize, min_score=MIN_RECORDED_SCORE
        )
        detections = detect_all(
            detect_faces, read_portraits(data, "train"), read_backgrounds(data, "train")
        )
        console.print(threshold_table(detections))
        return
    portraits, backgrounds = read_portraits(data, "val"), read_backgrounds(data, "val")
    detect_faces = detector_from_model(predict, size_hw=spec.size_hw, resize=spec.resize)
    reports = {spec.name: measure_faces(detect_faces, portraits, backgrounds)}
    if cascade := detector_from_cascade():
        reports["OpenCV cascade"] = measure_faces(cascade, portraits, backgrounds)
    console.print(summary_table(reports))
    for name, report in reports.items():
        console.print(name, confusion_table(report))


if __name__ == "__main__":
    typer.run(main)
