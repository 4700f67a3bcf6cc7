"""Measurements of one report run."""

from collections.abc import Sequence
from dataclasses import dataclass

from silhouette_seg.spec import ModelSpec
from training.benchmark.measure import Figures
from training.data.dataset import Portrait
from training.evaluation.faces import FaceReport
from training.report.calibration import CalibrationFigures
from training.report.clips import CutFigures, StreamFigures
from training.report.edges import EdgeFigures
from training.report.outlines import OutlineFigures
from training.report.scores import Group, ModelScores
from training.report.timing import Timing
from training.report.zoom import ZoomFigures


@dataclass(frozen=True, slots=True)
class Model:
    """A row of the table of models."""

    spec: ModelSpec
    megabytes: float
    weights: int
    """Number of floating-point values stored in the file."""
    digest_holds: bool
    folder: str
    """Folder of the model, relative to RESULTS.md."""
    curve: bool
    """True if `curve.png` is beside the model."""


@dataclass(frozen=True, slots=True)
class PhotoFigures:
    """Measurements of the photo pipeline around the model."""

    zoom: ZoomFigures
    edges: EdgeFigures
    calibration: CalibrationFigures


@dataclass(frozen=True, slots=True)
class Results:
    """All measurements of one report run."""

    quick: bool
    portraits: Sequence[Portrait]
    groups: Sequence[Group]
    models: Sequence[Model]
    model_scores: Sequence[ModelScores]
    timings: Sequence[Timing]
    rounds: int
    machine: Figures
    faces: dict[str, FaceReport]
    pictures: str
    """Folder of the plots, relative to RESULTS.md."""
    worst_cases_per_model: int
    outlines: Sequence[OutlineFigures] = ()
    streams: StreamFigures | None = None
    """None if the data pack has no labelled clip."""
    cuts: CutFigures | None = None
    """None if the data pack has fewer than two clips."""
    smoothing_ms: float = 0.0
    photos: PhotoFigures | None = None
