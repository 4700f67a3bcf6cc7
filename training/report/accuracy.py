"""Writes the accuracy of the models: by group, as differences, and against the targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from training.evaluation.metrics import compare_metrics, estimate_metrics
from training.report.markdown import figure, signed, table
from training.report.results import Results
from training.report.scores import (
    DETECTED_DOMAIN,
    METRIC_TITLES,
    NO_FACE_DOMAIN,
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
    at_least: float


TARGETS = (
    Target("rcrnet", "eg1800", "miou_image_mean", 96.3),
    Target("connectnet", "eg1800", "miou_image_mean", 95.0),
    Target("md_trisenet", "all", "iou_fg_image_mean", 92.0),
)
BEST_GROUPS = ("all", "whole_body", "far_shot")
"""Groups in which MD-TriSeNet should be the best model."""


def accuracy_text(results: Results) -> str:
    head = ("", "photos", *(each.label for each in results.model_scores))
    estimates = {
        group.name: [estimate_metrics(group.select(each)) for each in results.model_scores]
        for group in results.groups
    }
    parts = ["## Accuracy", _policies_text(results.model_scores)]
    for metric, title in METRIC_TITLES.items():
        rows = [
            (
                f"{_titled(group)}",
                f"{len(group.rows)}",
                *(figure(each[metric]) for each in estimates[group.name]),
            )
            for group in results.groups
        ]
        parts.append(f"### {title}\n\n{table(head, rows)}")
    parts.append(f"![bars by domain]({results.pictures}/domains.png)")
    parts.append(f"![bars by source]({results.pictures}/sources.png)")
    return "\n\n".join(part for part in parts if part)


def _policies_text(model_scores: Sequence[ModelScores]) -> str:
    meaning = {
        REFERENCE_DOMAIN: "the data pack's own faces, which a service does not have",
        DETECTED_DOMAIN: "the face detector of the model repository, as in the service",
        NO_FACE_DOMAIN: "the same branch for every photo, without routing",
    }
    policies = dict.fromkeys(each.policy for each in model_scores if each.policy)
    if not policies:
        return ""
    listed = "\n".join(f"- *{policy}*: {meaning[policy]}" for policy in policies)
    return f"A model with a domain input gets the domain from one of these policies:\n\n{listed}"


def pairs(model_scores: Sequence[ModelScores]) -> list[tuple[ModelScores, ModelScores]]:
    """Returns the pairs to compare: models with each other, and the policies of one model."""
    served = [each for each in model_scores if each.is_primary or each.policy == DETECTED_DOMAIN]
    served.sort(key=lambda each: each.spec.name != SUBJECT_MODEL)
    models = [pair for pair in combinations(served, 2) if pair[0].spec != pair[1].spec]
    policies = [pair for pair in combinations(model_scores, 2) if pair[0].spec == pair[1].spec]
    return models + policies


def differences_text(results: Results) -> str:
    compared = pairs(results.model_scores)
    if not compared:
        return ""
    parts = [
        "## Differences",
        "In points, the first minus the second, paired over the same photos. Bold: the interval"
        " excludes zero. Nothing is corrected for the number of comparisons.",
        "\n".join(f"- {_verdict(results, one, other)}" for one, other in compared),
    ]
    head = ("", "photos", *(f"{one.label} minus {other.label}" for one, other in compared))
    for metric in COMPARED_METRICS:
        rows = [
            (
                _titled(group),
                f"{len(group.rows)}",
                *(
                    signed(compare_metrics(group.select(a), group.select(b))[metric])
                    for a, b in compared
                ),
            )
            for group in results.groups
        ]
        parts.append(f"### {METRIC_TITLES[metric]}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def _verdict(results: Results, one: ModelScores, other: ModelScores) -> str:
    """Returns the verdict if the first beats the second over all photos."""
    differences = compare_metrics(one.scores, other.scores)
    listed = ", ".join(
        f"{METRIC_TITLES[name]} {signed(differences[name])}" for name in COMPARED_METRICS
    )
    ends = [differences[name] for name in COMPARED_METRICS]
    if all(each.above_zero for each in ends):
        verdict = "beats"
    elif all(each.below_zero for each in ends):
        verdict = "is beaten by"
    else:
        verdict = "does not clearly differ, by both measures, from"
    return f"{one.label} {verdict} {other.label}: {listed}."


def targets_text(results: Results) -> str:
    """Writes the section of targets; empty if no model has one."""
    groups = {each.name: each for each in results.groups}
    rows = []
    for each in (each for each in results.model_scores if each.policy != NO_FACE_DOMAIN):
        for aim in TARGETS:
            if aim.model == each.spec.name and aim.group in groups:
                rows.append(_reached(aim, each, groups[aim.group]))
        rivals = [
            rival for rival in results.model_scores if rival.is_primary and rival.spec != each.spec
        ]
        if each.spec.name == SUBJECT_MODEL and rivals:
            rows += [_best(each, rivals, groups[name]) for name in BEST_GROUPS if name in groups]
    if not rows:
        return ""
    return f"## Targets\n\n{table(('model', 'photos', 'target', 'measured', 'reached'), rows)}"


def _reached(aim: Target, scores: ModelScores, group: Group) -> tuple[str, ...]:
    """Compares the value with the target; its interval is shown beside it."""
    value = estimate_metrics(group.select(scores))[aim.metric]
    target = f"{METRIC_TITLES[aim.metric]} at least {aim.at_least}"
    reached = "yes" if value.value >= aim.at_least else "no"
    return scores.label, group.name, target, figure(value), reached


def _best(scores: ModelScores, rivals: Sequence[ModelScores], group: Group) -> tuple[str, ...]:
    """Compares with each rival and returns the smallest difference."""
    differences = {
        rival.label: compare_metrics(group.select(scores), group.select(rival))[COMPARED_METRICS[0]]
        for rival in rivals
    }
    strongest = min(differences, key=lambda label: differences[label].value)
    least = differences[strongest]
    target = f"the best {METRIC_TITLES[COMPARED_METRICS[0]]}"
    difference = f"{signed(least)} to {strongest}"
    return scores.label, group.name, target, difference, "yes" if least.value > 0 else "no"


def _titled(group: Group) -> str:
    return group.name if group.kind == "all" else f"{group.kind} {group.name}"
