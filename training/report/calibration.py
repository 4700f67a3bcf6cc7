"""Calibration of mask confidence and of the no-person rule on labelled photos."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.spec import ModelSpec
from silhouette_seg.vision.mask.quality import (
    BOUNDARY_RADIUS,
    MIN_PERSON_SHARE,
    PERSON_CERTAINTY,
    PERSON_SHARE,
    MaskQuality,
)
from training.calibrate import USEFUL_IOU, Observation, observe
from training.data.dataset import Portrait
from training.evaluation.faces import DetectFaces
from training.report.markdown import table

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
    """Photos of people in a group, and those with an empty mask, by the area rule and by the
    current rule.
    """

    group: str
    photos: int
    lost_by_area: int
    lost: int
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
    reliability: tuple[ReliabilityFigures, ...]
    presence: tuple[PresenceFigures, ...]


def measure_calibration(
    specs: Sequence[ModelSpec],
    repository: Path,
    find: DetectFaces | None,
    portraits: Sequence[Portrait],
    backgrounds: Sequence[Path],
) -> CalibrationFigures:
    """Measures every model on the same photos; `find` routes domains, as in the service."""
    return summarise_calibration(observe(specs, repository, find, portraits, backgrounds))


def summarise_calibration(observations: Sequence[Observation]) -> CalibrationFigures:
    """Summarises the observations of each model, in the order of their first observation."""
    models = list(dict.fromkeys(each.model for each in observations))
    by_model = [[each for each in observations if each.model == model] for model in models]
    return CalibrationFigures(
        tuple(
            measure_reliability(model, seen) for model, seen in zip(models, by_model, strict=True)
        ),
        tuple(measure_presence(model, seen) for model, seen in zip(models, by_model, strict=True)),
    )


def measure_reliability(model: str, observations: Iterable[Observation]) -> ReliabilityFigures:
    """Measures calibration over the photos of people with an outline in the mask."""
    known = [
        (each.quality, each.boundary_accuracy)
        for each in observations
        if each.boundary_accuracy is not None
    ]
    pairs = [(quality.confidence, boundary_accuracy) for quality, boundary_accuracy in known]
    predicted, observed = np.array(pairs).reshape(-1, 2).T
    apart = len(pairs) > 1 and predicted.std() > 0 and observed.std() > 0
    return ReliabilityFigures(
        model=model,
        photos=len(pairs),
        certainty_bins=reliability_bins(
            [
                (quality.boundary_certainty, boundary_accuracy)
                for quality, boundary_accuracy in known
            ]
        ),
        confidence_bins=reliability_bins(pairs),
        error=float(np.abs(predicted - observed).mean()) if pairs else 0.0,
        correlation=float(np.corrcoef(predicted, observed)[0, 1]) if apart else 0.0,
    )


def reliability_bins(pairs: PredictedObserved) -> tuple[ReliabilityBin, ...]:
    """Splits photos, sorted by prediction, into bins of equal size; fewer bins for few photos."""
    ordered = np.array(sorted(pairs)).reshape(-1, 2)
    parts = np.array_split(ordered, min(BIN_COUNT, max(1, len(ordered))))
    return tuple(
        ReliabilityBin(len(part), *map(float, part.mean(axis=0))) for part in parts if len(part)
    )


def calibration_error(parts: Sequence[ReliabilityBin]) -> float:
    """Returns the expected calibration error (ECE).

    It is the mean over bins of the distance between predicted and observed value, weighted by
    photos.
    """
    photos = sum(part.photos for part in parts)
    return sum(part.photos * abs(part.predicted - part.observed) for part in parts) / max(1, photos)


def measure_presence(model: str, observations: Sequence[Observation]) -> PresenceFigures:
    """Counts scenes with a person, and lost people by domain."""
    scenes = [each for each in observations if not each.person]
    groups = [
        (domain.label, [each for each in observations if each.group == domain.label])
        for domain in Domain
    ]
    return PresenceFigures(
        model=model,
        scenes=len(scenes),
        alarms_by_area=sum(map(found_by_area, scenes)),
        alarms=sum(each.quality.foreground for each in scenes),
        lost_people=tuple(count_missed(label, people) for label, people in groups if people),
    )


def count_missed(group: str, people: Sequence[Observation]) -> MissedPeople:
    lost = [each for each in people if not each.quality.foreground]
    return MissedPeople(
        group=group,
        photos=len(people),
        lost_by_area=sum(not found_by_area(each) for each in people),
        lost=len(lost),
        lost_useful=sum(each.iou >= USEFUL_IOU for each in lost),
    )


def found_by_area(each: Observation) -> bool:
    """True if the area rule alone finds a person: the area of the largest component."""
    return each.quality.largest_share >= MIN_PERSON_SHARE


def calibration_text(figures: CalibrationFigures, pictures: str) -> str:
    """Writes the section of RESULTS.md; `pictures` is the folder of the plots."""
    return "\n\n".join(
        (
            "## Calibration",
            *_confidence(figures.reliability, pictures),
            *_presence(figures.presence),
        )
    )


def _confidence(models: Sequence[ReliabilityFigures], pictures: str) -> Iterable[str]:
    rows = [
        (
            each.model,
            f"{each.photos}",
            f"{100 * calibration_error(each.certainty_bins):.1f}",
            f"{100 * calibration_error(each.confidence_bins):.1f}",
            f"{100 * each.error:.1f}",
            f"{each.correlation:.2f}",
            " to ".join(
                f"{100 * end.observed:.0f}"
                for end in (each.confidence_bins[0], each.confidence_bins[-1])
            )
            if each.confidence_bins
            else "",
        )
        for each in models
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
    yield f"![predicted against observed values]({pictures}/{RELIABILITY_PICTURE})"


def _presence(models: Sequence[PresenceFigures]) -> Iterable[str]:
    groups = list(dict.fromkeys(part.group for each in models for part in each.lost_people))
    rows = [
        (
            each.model,
            *(_share(found, each.scenes) for found in (each.alarms_by_area, each.alarms)),
            *(f"{sum(lost)}" for lost in zip(*map(_lost, each.lost_people), strict=True)),
            *(_group(each, group) for group in groups),
        )
        for each in models
    ]
    people = sum(part.photos for part in models[0].lost_people) if models else 0
    head = (
        *("", "scenes with a person, area rule", "current rule"),
        *(f"of {people} people lost, area rule", "current rule", "useful masks"),
        *(f"{group}, current rule" for group in groups),
    )
    yield "### The no-person rule"
    yield f"""A mask is emptied and called `none` in two cases. Its largest component covers less
than {100 * MIN_PERSON_SHARE:g} % of the area (the area rule). Or it covers less than
{100 * PERSON_SHARE:g} % and the outline is uncertain: the plain mean above is under
{PERSON_CERTAINTY:g}, a confidence under {_threshold_confidence():.2f}. Once the area rule was
the whole rule. The scenes contain no person. Lost people are photos of people that were called
`none`. A useful mask among them has an IoU of {USEFUL_IOU:g} or more with the reference. Few
photos have a person smaller than a hundredth of the area, so the loss of smaller ones is not
known. The zoom pass of the service is not included."""
    yield table(head, rows)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % ({part} of {whole})" if whole else ""


def _lost(part: MissedPeople) -> tuple[int, int, int]:
    return part.lost_by_area, part.lost, part.lost_useful


def _threshold_confidence() -> float:
    """Returns the confidence of a mask at the certainty threshold of the no-person rule."""
    return MaskQuality(0.0, 0.0, 0, 0, PERSON_CERTAINTY).confidence


def _group(each: PresenceFigures, group: str) -> str:
    return next((f"{m.lost} of {m.photos}" for m in each.lost_people if m.group == group), "")


def draw_reliability(figures: CalibrationFigures, picture: Path) -> None:
    """Draws predicted against observed values, a panel for each model."""
    models = figures.reliability
    plot, panels = plt.subplots(
        1, len(models), figsize=(4 * len(models), 4.2), layout="constrained", squeeze=False
    )
    for axes, each in zip(panels[0], models, strict=True):
        _draw(axes, each)
    panels[0][0].set_ylabel("share of correct pixels in the band")
    plot.savefig(picture, dpi=DPI)
    plt.close(plot)


def _draw(axes: Axes, each: ReliabilityFigures) -> None:
    axes.plot((0, 1), (0, 1), color="grey", linewidth=1)
    for label, parts in (("plain mean", each.certainty_bins), ("confidence", each.confidence_bins)):
        axes.plot(
            [part.predicted for part in parts],
            [part.observed for part in parts],
            marker="o",
            label=f"{label}: error {100 * calibration_error(parts):.1f}",
        )
    counts = {part.photos for part in each.confidence_bins}
    axes.set(
        title=f"{each.model}\n{each.photos} photos, {_range(counts)} in a bin",
        xlabel="predicted",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _range(counts: set[int]) -> str:
    ends = sorted({min(counts, default=0), max(counts, default=0)})
    return " or ".join(map(str, ends))
