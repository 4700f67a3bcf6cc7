"""Writes the accuracy of the models: by group, as differences, and against the targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from training.evaluation.metrics import compare_metrics, estimate_metrics
from training.report.markdown import figure, signed, table
from training.report.plots import plot_bars
from training.report.results import PICTURES_FOLDER, Results
from training.report.scores import (
    DETECTED_DOMAIN,
    METRIC_TITLES,
    NO_FACE_DOMAIN,
    PLOTTED_METRIC,
    REFERENCE_DOMAIN,
    Group,
    ModelScores,
)

COMPARED_METRICS = ("miou_image_mean", "iou_fg_image_mean")
SUBJECT_MODEL = "md_trisenet"
"""Model that comes first in comparisons: the question is if it beats the others."""


@dataclass(frozen=True, slots=True)
class Target:
    """Minimum value of a metric that a model has to reach."""

    model: str
    group: str
    metric: str
    minimum: float


TARGETS = (
    Target("rcrnet", "eg1800", "miou_image_mean", 96.3),
    Target("connectnet", "eg1800", "miou_image_mean", 95.0),
    Target("md_trisenet", "all", "iou_fg_image_mean", 92.0),
)
BEST_GROUPS = ("all", "whole_body", "far_shot")
"""Groups in which MD-TriSeNet should be the best model."""


def accuracy_text(results: Results) -> str:
    """Writes the section of every metric by group."""
    groups = results.inputs.groups
    head = ("", "photos", *(scores.label for scores in results.model_scores))
    estimates = {
        group.name: [estimate_metrics(group.select(scores)) for scores in results.model_scores]
        for group in groups
    }
    parts = ["## Accuracy", _policies_text(results.model_scores)]
    for metric, title in METRIC_TITLES.items():
        rows = [
            (
                group.title,
                f"{len(group.rows)}",
                *(figure(estimate[metric]) for estimate in estimates[group.name]),
            )
            for group in groups
        ]
        parts.append(f"### {title}\n\n{table(head, rows)}")
    parts.append(f"![bars by domain]({PICTURES_FOLDER}/domains.png)")
    parts.append(f"![bars by source]({PICTURES_FOLDER}/sources.png)")
    return "\n\n".join(part for part in parts if part)


def _policies_text(model_scores: Sequence[ModelScores]) -> str:
    meaning = {
        REFERENCE_DOMAIN: "the data pack's own faces, which a service does not have",
        DETECTED_DOMAIN: "the face detector of the model repository, as in the service",
        NO_FACE_DOMAIN: "the same branch for every photo, without routing",
    }
    policies = dict.fromkeys(scores.policy for scores in model_scores if scores.policy)
    if not policies:
        return ""
    items = "\n".join(f"- *{policy}*: {meaning[policy]}" for policy in policies)
    return f"A model with a domain input gets the domain from one of these policies:\n\n{items}"


def draw_bars(results: Results, pictures: Path, _gallery: Path) -> None:
    """Draws the bars by domain and by source into `pictures`."""
    for kind in ("domain", "source"):
        groups = [group for group in results.inputs.groups if group.kind == kind]
        plot_bars(
            [f"{group.name}\n{len(group.rows)} photos" for group in groups],
            {
                scores.label: [
                    estimate_metrics(group.select(scores))[PLOTTED_METRIC] for group in groups
                ]
                for scores in results.model_scores
            },
            pictures / f"{kind}s.png",
            label=f"{METRIC_TITLES[PLOTTED_METRIC]}, %",
        )


def comparison_pairs(model_scores: Sequence[ModelScores]) -> list[tuple[ModelScores, ModelScores]]:
    """Returns the pairs to compare: models with each other, and the policies of one model."""
    candidates = [scores for scores in model_scores if scores.is_comparable]
    candidates.sort(key=lambda scores: scores.spec.name != SUBJECT_MODEL)
    models = [pair for pair in combinations(candidates, 2) if pair[0].spec != pair[1].spec]
    policies = [pair for pair in combinations(model_scores, 2) if pair[0].spec == pair[1].spec]
    return models + policies


def differences_text(results: Results) -> str:
    """Writes the section of paired differences; empty for a single model."""
    pairs = comparison_pairs(results.model_scores)
    if not pairs:
        return ""
    parts = [
        "## Differences",
        "In points, the first minus the second, paired over the same photos. Bold: the interval"
        " excludes zero. Nothing is corrected for the number of comparisons.",
        "\n".join(f"- {_verdict(results, one, other)}" for one, other in pairs),
    ]
    head = ("", "photos", *(f"{one.label} minus {other.label}" for one, other in pairs))
    for metric in COMPARED_METRICS:
        rows = [
            (
                group.title,
                f"{len(group.rows)}",
                *(
                    signed(compare_metrics(group.select(one), group.select(other))[metric])
                    for one, other in pairs
                ),
            )
            for group in results.inputs.groups
        ]
        parts.append(f"### {METRIC_TITLES[metric]}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def _verdict(results: Results, one: ModelScores, other: ModelScores) -> str:
    """Returns the verdict if the first beats the second over all photos."""
    differences = compare_metrics(one.scores, other.scores)
    metrics = ", ".join(
        f"{METRIC_TITLES[name]} {signed(differences[name])}" for name in COMPARED_METRICS
    )
    intervals = [differences[name] for name in COMPARED_METRICS]
    if all(interval.above_zero for interval in intervals):
        verdict = "beats"
    elif all(interval.below_zero for interval in intervals):
        verdict = "is beaten by"
    else:
        verdict = "does not clearly differ, by both measures, from"
    return f"{one.label} {verdict} {other.label}: {metrics}."


def targets_text(results: Results) -> str:
    """Writes the section of targets; empty if no model has one."""
    groups = {group.name: group for group in results.inputs.groups}
    rows = []
    for scores in results.model_scores:
        if scores.policy == NO_FACE_DOMAIN:
            continue
        for target in TARGETS:
            if target.model == scores.spec.name and target.group in groups:
                rows.append(_target_row(target, scores, groups[target.group]))
        rivals = [
            rival
            for rival in results.model_scores
            if rival.is_primary and rival.spec != scores.spec
        ]
        if scores.spec.name == SUBJECT_MODEL and rivals:
            rows += [
                _best_row(scores, rivals, groups[name]) for name in BEST_GROUPS if name in groups
            ]
    if not rows:
        return ""
    return f"## Targets\n\n{table(('model', 'photos', 'target', 'measured', 'reached'), rows)}"


def _target_row(target: Target, scores: ModelScores, group: Group) -> tuple[str, ...]:
    """Compares the value with the target; its interval is shown beside it."""
    value = estimate_metrics(group.select(scores))[target.metric]
    title = f"{METRIC_TITLES[target.metric]} at least {target.minimum}"
    reached = "yes" if value.value >= target.minimum else "no"
    return scores.label, group.name, title, figure(value), reached


def _best_row(scores: ModelScores, rivals: Sequence[ModelScores], group: Group) -> tuple[str, ...]:
    """Compares with each rival and returns the smallest difference."""
    differences = {
        rival.label: compare_metrics(group.select(scores), group.select(rival))[COMPARED_METRICS[0]]
        for rival in rivals
    }
    strongest = min(differences, key=lambda label: differences[label].value)
    smallest = differences[strongest]
    title = f"the best {METRIC_TITLES[COMPARED_METRICS[0]]}"
    difference = f"{signed(smallest)} to {strongest}"
    return scores.label, group.name, title, difference, "yes" if smallest.value > 0 else "no"
