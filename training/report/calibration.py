"""How far a mask may be trusted: its confidence, and its word that nobody is there."""

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
from training.evaluation.faces import FindFaces
from training.report.markdown import table

matplotlib.use("agg")

from matplotlib import pyplot as plt  # the backend comes first
from matplotlib.axes import Axes

RELIABILITY_PICTURE = "reliability.png"
BIN_COUNT = 10
"""Each has as many photos as the others."""
DPI = 110
PredictedObserved = Sequence[tuple[float, float]]
"""What was predicted and what was observed, photo by photo."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Photos of like predictions: their number, and means 0..1."""

    photos: int
    predicted: float
    observed: float


@dataclass(frozen=True, slots=True)
class ReliabilityFigures:
    """What a model's confidence is worth."""

    model: str
    photos: int
    certainty_bins: tuple[ReliabilityBin, ...]
    """By `boundary_certainty`, which was the confidence before it was calibrated."""
    confidence_bins: tuple[ReliabilityBin, ...]
    error: float
    """Mean distance of a photo's confidence from what was observed."""
    correlation: float
    """Of confidence and observation, over photos (Pearson)."""


@dataclass(frozen=True, slots=True)
class MissedPeople:
    """Photos of people in a group, and those in which nobody was found, then and now."""

    group: str
    photos: int
    lost_by_area: int
    lost: int
    lost_useful: int
    """Of those now, the ones whose mask was of use."""


@dataclass(frozen=True, slots=True)
class PresenceFigures:
    """Whether a model's masks tell people from scenes without one."""

    model: str
    scenes: int
    alarms_by_area: int
    """Of the scenes, those in which somebody was found."""
    alarms: int
    lost_people: tuple[MissedPeople, ...]


@dataclass(frozen=True, slots=True)
class CalibrationFigures:
    reliability: tuple[ReliabilityFigures, ...]
    presence: tuple[PresenceFigures, ...]


def measure_calibration(
    specs: Sequence[ModelSpec],
    repository: Path,
    find: FindFaces | None,
    portraits: Sequence[Portrait],
    backgrounds: Sequence[Path],
) -> CalibrationFigures:
    """Every model on the same photos; `find` tells domains, as in the service."""
    return summarise_calibration(observe(specs, repository, find, portraits, backgrounds))


def summarise_calibration(observations: Sequence[Observation]) -> CalibrationFigures:
    """The figures of each model, in the order in which they looked."""
    models = list(dict.fromkeys(each.model for each in observations))
    by_model = [[each for each in observations if each.model == model] for model in models]
    return CalibrationFigures(
        tuple(
            measure_reliability(model, seen) for model, seen in zip(models, by_model, strict=True)
        ),
        tuple(measure_presence(model, seen) for model, seen in zip(models, by_model, strict=True)),
    )


def measure_reliability(model: str, observations: Iterable[Observation]) -> ReliabilityFigures:
    """Over the photos of people in which the mask has an outline."""
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
    """In order of the prediction; fewer where there are fewer photos."""
    ordered = np.array(sorted(pairs)).reshape(-1, 2)
    parts = np.array_split(ordered, min(BIN_COUNT, max(1, len(ordered))))
    return tuple(
        ReliabilityBin(len(part), *map(float, part.mean(axis=0))) for part in parts if len(part)
    )


def calibration_error(parts: Sequence[ReliabilityBin]) -> float:
    """Mean distance of what was predicted from what was observed over the bins, by photos (ECE)."""
    photos = sum(part.photos for part in parts)
    return sum(part.photos * abs(part.predicted - part.observed) for part in parts) / max(1, photos)


def measure_presence(model: str, observations: Sequence[Observation]) -> PresenceFigures:
    """Scenes by the count, people by domain."""
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
    """By the rule before: the area of the largest component alone."""
    return each.quality.largest_share >= MIN_PERSON_SHARE


def calibration_text(figures: CalibrationFigures, pictures: str) -> str:
    """The section of RESULTS.md; `pictures` is the folder of the plots."""
    return "\n\n".join(
        ("## Trust", *_confidence(figures.reliability, pictures), *_nobody(figures.presence))
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
    yield f"""The confidence of a mask is the share of its boundary band, {BOUNDARY_RADIUS} pixels
on either side of the outline at the model's resolution, that is expected to be on the right side.
It is one line for all models through the mean of |alpha - 127.5| / 127.5 over the band, drawn on
training photos by `python -m training.calibrate`; here it is held against the validation photos, as
each model sees them at its first look. The calibration error is the mean distance of what was said
from what was observed over {BIN_COUNT} bins of as many photos each, in points; the plain mean is
what the confidence was before. Photos in which the mask has no outline are left out."""
    yield table(head, rows)
    yield f"![what was said against what was observed]({pictures}/{RELIABILITY_PICTURE})"


def _nobody(models: Sequence[PresenceFigures]) -> Iterable[str]:
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
        *("", "scenes with an alarm, once", "now"),
        *(f"of {people} people lost, once", "now", "of use"),
        *(f"{group}, now" for group in groups),
    )
    yield "### Is anybody there?"
    yield f"""A mask is emptied and called `none` when its largest component covers less than
{100 * MIN_PERSON_SHARE:g} % of the area; or less than {100 * PERSON_SHARE:g} %, and the outline is
not decided (the plain mean above under {PERSON_CERTAINTY:g}, a confidence under {_least():.2f}).
*Once* the first was the whole rule. Alarms are on scenes without a person; lost are photos of
people that were called `none`, of use those among them whose mask has an IoU of {USEFUL_IOU:g} with
the reference.
Hardly a photo has a person of less than a hundredth of the area: how many smaller ones are lost is
not known. The second look that the service takes at small people is not counted."""
    yield table(head, rows)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % ({part} of {whole})" if whole else ""


def _lost(part: MissedPeople) -> tuple[int, int, int]:
    return part.lost_by_area, part.lost, part.lost_useful


def _least() -> float:
    """The confidence of a mask that is just decided enough."""
    return MaskQuality(0.0, 0.0, 0, 0, PERSON_CERTAINTY).confidence


def _group(each: PresenceFigures, group: str) -> str:
    return next((f"{m.lost} of {m.photos}" for m in each.lost_people if m.group == group), "")


def draw_reliability(figures: CalibrationFigures, picture: Path) -> None:
    """What was said against what was observed, a panel for each model."""
    models = figures.reliability
    plot, panels = plt.subplots(
        1, len(models), figsize=(4 * len(models), 4.2), layout="constrained", squeeze=False
    )
    for axes, each in zip(panels[0], models, strict=True):
        _draw(axes, each)
    panels[0][0].set_ylabel("share of the band that is right")
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
        xlabel="said",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _range(counts: set[int]) -> str:
    ends = sorted({min(counts, default=0), max(counts, default=0)})
    return " or ".join(map(str, ends))
