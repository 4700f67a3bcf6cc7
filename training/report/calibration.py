"""Measures the calibration of mask confidence and of the no-person rule on labelled photos."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.spec import ModelSpec
from silhouette_seg.vision.mask.quality import (
    BOUNDARY_RADIUS,
    MIN_PERSON_CERTAINTY,
    MIN_PERSON_SHARE,
    PERSON_CERTAINTY,
    PERSON_SHARE,
    expected_accuracy,
)
from training.calibrate import USEFUL_IOU, Observation, observe
from training.data.dataset import Portrait
from training.evaluation.faces import DetectFaces
from training.report.markdown import table
from training.report.results import PICTURES_FOLDER

matplotlib.use("agg")

from matplotlib import pyplot as plt  # the backend comes first
from matplotlib.axes import Axes

RELIABILITY_PICTURE = "reliability.png"
BIN_COUNT = 10
"""Number of bins; each has the same number of photos."""
DPI = 110
PredictedObserved = Sequence[tuple[float, float]]
"""Predicted and observed value of each photo."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Photos with similar predictions: their number, and means 0..1."""

    photos: int
    predicted: float
    observed: float


@dataclass(frozen=True, slots=True)
class ReliabilityFigures:
    """Calibration of a model's confidence."""

    model: str
    photos: int
    certainty_bins: tuple[ReliabilityBin, ...]
    """Bins by `boundary_certainty`, which is not calibrated."""
    confidence_bins: tuple[ReliabilityBin, ...]
    error: float
    """Mean absolute difference of confidence and observation over photos."""
    correlation: float
    """Correlation of confidence and observation over photos (Pearson)."""


@dataclass(frozen=True, slots=True)
class MissedPeople:
    """Number of photos of people in a group, and of those with an empty mask."""

    group: str
    photos: int
    lost_by_area: int
    """Photos lost by the area rule alone."""
    lost: int
    """Photos lost by the current rule."""
    lost_useful: int
    """Photos lost by the current rule although their mask reaches the IoU of a useful mask."""


@dataclass(frozen=True, slots=True)
class PresenceFigures:
    """Masks of a model on people and on scenes without a person."""

    model: str
    scenes: int
    alarms_by_area: int
    """Scenes with a person by the area rule."""
    alarms: int
    lost_people: tuple[MissedPeople, ...]


@dataclass(frozen=True, slots=True)
class CalibrationFigures:
    """Confidence and the no-person rule, for every model."""

    reliability: tuple[ReliabilityFigures, ...]
    presence: tuple[PresenceFigures, ...]


def measure_calibration(
    specs: Sequence[ModelSpec],
    repository: Path,
    detect_faces: DetectFaces | None,
    portraits: Sequence[Portrait],
    backgrounds: Sequence[Path],
) -> CalibrationFigures:
    """Measures every model on the same photos; `detect_faces` routes domains, as in the service."""
    return summarise_calibration(observe(specs, repository, detect_faces, portraits, backgrounds))


def summarise_calibration(observations: Sequence[Observation]) -> CalibrationFigures:
    """Summarises the observations of each model, in the order of their first observation."""
    by_model: dict[str, list[Observation]] = {}
    for observation in observations:
        by_model.setdefault(observation.model, []).append(observation)
    return CalibrationFigures(
        tuple(measure_reliability(model, rows) for model, rows in by_model.items()),
        tuple(measure_presence(model, rows) for model, rows in by_model.items()),
    )


def measure_reliability(model: str, observations: Iterable[Observation]) -> ReliabilityFigures:
    """Measures calibration over the photos of people with an outline in the mask."""
    measured = [
        (observation.quality, observation.boundary_accuracy)
        for observation in observations
        if observation.boundary_accuracy is not None
    ]
    pairs = [(expected_accuracy(mask.boundary_certainty), accuracy) for mask, accuracy in measured]
    predicted, observed = np.array(pairs).reshape(-1, 2).T
    has_spread = len(pairs) > 1 and predicted.std() > 0 and observed.std() > 0
    return ReliabilityFigures(
        model=model,
        photos=len(pairs),
        certainty_bins=reliability_bins(
            [(quality.boundary_certainty, accuracy) for quality, accuracy in measured]
        ),
        confidence_bins=reliability_bins(pairs),
        error=float(np.abs(predicted - observed).mean()) if pairs else 0.0,
        correlation=float(np.corrcoef(predicted, observed)[0, 1]) if has_spread else 0.0,
    )


def reliability_bins(pairs: PredictedObserved) -> tuple[ReliabilityBin, ...]:
    """Splits photos, sorted by prediction, into bins of equal size; fewer bins for few photos."""
    rows = np.array(sorted(pairs)).reshape(-1, 2)
    parts = np.array_split(rows, min(BIN_COUNT, max(1, len(rows))))
    return tuple(
        ReliabilityBin(len(part), *map(float, part.mean(axis=0))) for part in parts if len(part)
    )


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Returns the expected calibration error (ECE).

    It is the mean over bins of the distance between predicted and observed value, weighted by
    photos.
    """
    photos = sum(part.photos for part in bins)
    distances = (part.photos * abs(part.predicted - part.observed) for part in bins)
    return sum(distances) / max(1, photos)


def measure_presence(model: str, observations: Sequence[Observation]) -> PresenceFigures:
    """Counts scenes with a person, and lost people by domain."""
    scenes = [observation for observation in observations if not observation.person]
    groups = {
        domain.label: [row for row in observations if row.group == domain.label]
        for domain in Domain
    }
    return PresenceFigures(
        model=model,
        scenes=len(scenes),
        alarms_by_area=sum(map(found_by_area, scenes)),
        alarms=sum(scene.quality.foreground for scene in scenes),
        lost_people=tuple(
            count_missed(label, people) for label, people in groups.items() if people
        ),
    )


def count_missed(group: str, people: Sequence[Observation]) -> MissedPeople:
    """Counts the photos of people with an empty mask; `group` is the name of their domain."""
    lost = [observation for observation in people if not observation.quality.foreground]
    return MissedPeople(
        group=group,
        photos=len(people),
        lost_by_area=sum(not found_by_area(observation) for observation in people),
        lost=len(lost),
        lost_useful=sum(observation.iou >= USEFUL_IOU for observation in lost),
    )


def found_by_area(observation: Observation) -> bool:
    """True if the area rule alone finds a person: the area of the largest component."""
    return observation.quality.largest_share >= MIN_PERSON_SHARE


def calibration_text(figures: CalibrationFigures) -> str:
    """Writes the section of RESULTS.md."""
    return "\n\n".join(
        (
            "## Calibration",
            *_confidence_parts(figures.reliability),
            *_presence_parts(figures.presence),
        )
    )


def _confidence_parts(models: Sequence[ReliabilityFigures]) -> Iterable[str]:
    rows = [
        (
            model.model,
            f"{model.photos}",
            f"{100 * calibration_error(model.certainty_bins):.1f}",
            f"{100 * calibration_error(model.confidence_bins):.1f}",
            f"{100 * model.error:.1f}",
            f"{model.correlation:.2f}",
            _observed_range(model.confidence_bins),
        )
        for model in models
    ]
    head = (
        *("", "photos", "calibration error of the plain mean", "calibration error"),
        *("mean error of a photo", "correlation", "observed, least to most confident tenth"),
    )
    yield f"""The confidence of a mask is the expected share of correct pixels in its boundary band:
{BOUNDARY_RADIUS} pixels on either side of the outline, at the model's resolution. It is a linear
function of the plain mean, which is the mean of |alpha - 127.5| / 127.5 over the band. One line for
all models was fitted on training photos by `python -m training.calibrate`. Here it is compared with
the validation photos, as each model sees them in its first pass. The calibration error is the mean
distance between predicted and observed share over {BIN_COUNT} bins of equal size, in points. The
plain mean was the confidence before calibration. Photos without an outline in the mask are left
out."""
    yield table(head, rows)
    yield f"![predicted against observed values]({PICTURES_FOLDER}/{RELIABILITY_PICTURE})"


def _observed_range(bins: Sequence[ReliabilityBin]) -> str:
    """Formats the observed percentages of the first and the last bin."""
    return f"{100 * bins[0].observed:.0f} to {100 * bins[-1].observed:.0f}" if bins else ""


def _presence_parts(models: Sequence[PresenceFigures]) -> Iterable[str]:
    groups = list(dict.fromkeys(missed.group for model in models for missed in model.lost_people))
    rows = [
        (
            model.model,
            *(_share(alarms, model.scenes) for alarms in (model.alarms_by_area, model.alarms)),
            *(
                f"{sum(counts)}"
                for counts in zip(*map(_lost_counts, model.lost_people), strict=True)
            ),
            *(_group_cell(model, group) for group in groups),
        )
        for model in models
    ]
    people = sum(missed.photos for missed in models[0].lost_people) if models else 0
    head = (
        *("", "scenes with a person, area rule", "current rule"),
        *(f"of {people} people lost, area rule", "current rule", "useful masks"),
        *(f"{group}, current rule" for group in groups),
    )
    yield "### The no-person rule"
    yield f"""A mask is emptied and called `none` in three cases. Its largest component covers less
than {100 * MIN_PERSON_SHARE:g} % of the area (the area rule). Or it covers less than
{100 * PERSON_SHARE:g} % and the outline is uncertain: the plain mean above is under
{PERSON_CERTAINTY:g}, a confidence under {_threshold_confidence():.2f}. Or the plain mean is under
{MIN_PERSON_CERTAINTY:g}. Once the area rule was the whole rule. The scenes contain no person. Lost
people are photos of people that were called `none`. A useful mask among them has an IoU of
{USEFUL_IOU:g} or more with the reference. Few photos have a person smaller than a hundredth of the
area, so the loss of smaller ones is not known. The zoom pass of the service is not included."""
    yield table(head, rows)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % ({part} of {whole})" if whole else ""


def _lost_counts(missed: MissedPeople) -> tuple[int, int, int]:
    return missed.lost_by_area, missed.lost, missed.lost_useful


def _threshold_confidence() -> float:
    """Returns the confidence of a mask at the certainty threshold of the no-person rule."""
    return expected_accuracy(PERSON_CERTAINTY)


def _group_cell(model: PresenceFigures, group: str) -> str:
    counts = (
        f"{missed.lost} of {missed.photos}" for missed in model.lost_people if missed.group == group
    )
    return next(counts, "")


def draw_reliability(figures: CalibrationFigures, pictures: Path, _gallery: Path) -> None:
    """Draws predicted against observed values into `pictures`, a panel for each model."""
    models = figures.reliability
    plot, panels = plt.subplots(
        1, len(models), figsize=(4 * len(models), 4.2), layout="constrained", squeeze=False
    )
    for axes, model in zip(panels[0], models, strict=True):
        _draw_panel(axes, model)
    panels[0][0].set_ylabel("share of correct pixels in the band")
    plot.savefig(pictures / RELIABILITY_PICTURE, dpi=DPI)
    plt.close(plot)


def _draw_panel(axes: Axes, model: ReliabilityFigures) -> None:
    axes.plot((0, 1), (0, 1), color="grey", linewidth=1)
    curves = (("plain mean", model.certainty_bins), ("confidence", model.confidence_bins))
    for label, bins in curves:
        axes.plot(
            [part.predicted for part in bins],
            [part.observed for part in bins],
            marker="o",
            label=f"{label}: error {100 * calibration_error(bins):.1f}",
        )
    counts = {part.photos for part in model.confidence_bins}
    axes.set(
        title=f"{model.model}\n{model.photos} photos, {_format_counts(counts)} in a bin",
        xlabel="predicted",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _format_counts(counts: set[int]) -> str:
    ends = sorted({min(counts, default=0), max(counts, default=0)})
    return " or ".join(map(str, ends))
