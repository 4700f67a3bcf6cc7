"""How good the models are: by group, against each other, against what was aimed at."""

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
"""The model that is first in comparisons, because the question is whether it beats the others."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What issue 3 asks of a model."""

    model: str
    group: str
    metric: str
    at_least: float


AIMS = (
    Aim("rcrnet", "eg1800", "miou_image_mean", 96.3),
    Aim("connectnet", "eg1800", "miou_image_mean", 95.0),
    Aim("md_trisenet", "all", "iou_fg_image_mean", 92.0),
)
BEST_GROUPS = ("all", "whole_body", "far_shot")
"""Groups in which MD-TriSeNet is to be the best."""


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
        REFERENCE_DOMAIN: "by the data pack's own faces, which a service does not have",
        DETECTED_DOMAIN: "by the face detector of the model repository, as the service does it",
        NO_FACE_DOMAIN: "the same branch for every photo: what is left without routing",
    }
    policies = dict.fromkeys(each.policy for each in model_scores if each.policy)
    if not policies:
        return ""
    listed = "\n".join(f"- *{policy}*: {meaning[policy]}" for policy in policies)
    return f"Where a model takes a domain, it is told:\n\n{listed}"


def pairs(model_scores: Sequence[ModelScores]) -> list[tuple[ModelScores, ModelScores]]:
    """Which are compared: models with each other, and the ways of one model among themselves."""
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
        "In points, the first less the second, paired over the same photos. Bold where the"
        " interval leaves out zero; nothing is corrected for the number of comparisons.",
        "\n".join(f"- {_verdict(results, one, other)}" for one, other in compared),
    ]
    head = ("", "photos", *(f"{one.label} less {other.label}" for one, other in compared))
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
    """Whether the first beats the second over all photos."""
    differences = compare_metrics(one.scores, other.scores)
    told = ", ".join(
        f"{METRIC_TITLES[name]} {signed(differences[name])}" for name in COMPARED_METRICS
    )
    ends = [differences[name] for name in COMPARED_METRICS]
    if all(each.above_zero for each in ends):
        verdict = "beats"
    elif all(each.below_zero for each in ends):
        verdict = "is beaten by"
    else:
        verdict = "is not told apart, by both measures, from"
    return f"{one.label} {verdict} {other.label}: {told}."


def aims_text(results: Results) -> str:
    """Which aims were reached; nothing where none is of these models."""
    groups = {each.name: each for each in results.groups}
    rows = []
    for each in (each for each in results.model_scores if each.policy != NO_FACE_DOMAIN):
        for aim in AIMS:
            if aim.model == each.spec.name and aim.group in groups:
                rows.append(_reached(aim, each, groups[aim.group]))
        rivals = [
            rival for rival in results.model_scores if rival.is_primary and rival.spec != each.spec
        ]
        if each.spec.name == SUBJECT_MODEL and rivals:
            rows += [_best(each, rivals, groups[name]) for name in BEST_GROUPS if name in groups]
    if not rows:
        return ""
    return f"## Aims\n\n{table(('model', 'photos', 'aim', 'measured', 'reached'), rows)}"


def _reached(aim: Aim, contender: ModelScores, group: Group) -> tuple[str, ...]:
    """By the figure itself; its interval is beside it."""
    value = estimate_metrics(group.select(contender))[aim.metric]
    wanted = f"{METRIC_TITLES[aim.metric]} at least {aim.at_least}"
    reached = "yes" if value.value >= aim.at_least else "no"
    return contender.label, group.name, wanted, figure(value), reached


def _best(contender: ModelScores, rivals: Sequence[ModelScores], group: Group) -> tuple[str, ...]:
    """Against each rival the difference, the strongest of them told."""
    differences = {
        rival.label: compare_metrics(group.select(contender), group.select(rival))[
            COMPARED_METRICS[0]
        ]
        for rival in rivals
    }
    strongest = min(differences, key=lambda label: differences[label].value)
    least = differences[strongest]
    wanted = f"the best {METRIC_TITLES[COMPARED_METRICS[0]]}"
    told = f"{signed(least)} to {strongest}"
    return contender.label, group.name, wanted, told, "yes" if least.value > 0 else "no"


def _titled(group: Group) -> str:
    return group.name if group.kind == "all" else f"{group.kind} {group.name}"
