"""What a run of the report measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from silhouette_seg.spec import ModelSpec
from training.benchmark.measure import Figures
from training.data.dataset import Portrait
from training.evaluation.faces import FaceReport
from training.report.calibration import TrustFigures
from training.report.clips import Cuts, Streamed
from training.report.edges import EdgeFigures
from training.report.outlines import OutlineFigures
from training.report.scores import Contender, Group
from training.report.timing import Timing
from training.report.zoom import SecondLookFigures


@dataclass(frozen=True, slots=True)
class Model:
    """A row of the table of models."""

    spec: ModelSpec
    megabytes: float
    weights: int
    """Floating-point numbers stored in the file."""
    digest_holds: bool
    folder: str
    """Relative to RESULTS.md."""
    curve: bool
    """Whether `curve.png` is beside the model."""


@dataclass(frozen=True, slots=True)
class PhotoFigures:
    """What the service does to a photo beside asking the model."""

    second_look: SecondLookFigures
    edges: EdgeFigures
    trust: TrustFigures


@dataclass(frozen=True, slots=True)
class Results:
    """What a run measured."""

    quick: bool
    portraits: Sequence[Portrait]
    groups: Sequence[Group]
    models: Sequence[Model]
    contenders: Sequence[Contender]
    timings: Sequence[Timing]
    rounds: int
    machine: Figures
    faces: dict[str, FaceReport]
    pictures: str
    """The folder of the plots, relative to RESULTS.md."""
    worst_of_each: int
    outlines: Sequence[OutlineFigures] = ()
    streamed: Streamed | None = None
    """None where the data pack has no labelled clip."""
    cuts: Cuts | None = None
    """None where it has not two clips."""
    smoothing_ms: float = 0.0
    photos: PhotoFigures | None = None
