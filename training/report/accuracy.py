"""How good the models are: by group, against each other, against what was aimed at."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from training.evaluation.metrics import compare, estimate
from training.report.markdown import figure, signed, table
from training.report.results import Results
from training.report.scores import METRICS, NO_FACE, OWN, REFERENCE, Contender, Group

COMPARED = ("miou_image_mean", "iou_fg_image_mean")
SUBJECT = "md_trisenet"
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
BEST = ("all", "whole_body", "far_shot")
"""Groups in which MD-TriSeNet is to be the best."""


def accuracy_text(results: Results) -> str:
    head = ("", "photos", *(each.label for each in results.contenders))
    estimates = {
        group.name: [estimate(group.of(each)) for each in results.contenders]
        for group in results.groups
    }
    parts = ["## Accuracy", _ways(results.contenders)]
    for metric, title in METRICS.items():
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


def _ways(contenders: Sequence[Contender]) -> str:
    meaning = {
        REFERENCE: "by the data pack's own faces, which a service does not have",
        OWN: "by the face detector of the model repository, as the service does it",
        NO_FACE: "the same branch for every photo: what is left without routing",
    }
    ways = dict.fromkeys(each.way for each in contenders if each.way)
    if not ways:
        return ""
    listed = "\n".join(f"- *{way}*: {meaning[way]}" for way in ways)
    return f"Where a model takes a domain, it is told:\n\n{listed}"


def pairs(contenders: Sequence[Contender]) -> list[tuple[Contender, Contender]]:
    """Which are compared: models with each other, and the ways of one model among themselves."""
    served = [each for each in contenders if each.main or each.way == OWN]
    served.sort(key=lambda each: each.spec.name != SUBJECT)
    models = [pair for pair in combinations(served, 2) if pair[0].spec != pair[1].spec]
    ways = [pair for pair in combinations(contenders, 2) if pair[0].spec == pair[1].spec]
    return models + ways


def differences_text(results: Results) -> str:
    compared = pairs(results.contenders)
    if not compared:
        return ""
    parts = [
        "## Differences",
        "In points, the first less the second, paired over the same photos. Bold where the"
        " interval leaves out zero; nothing is corrected for the number of comparisons.",
        "\n".join(f"- {_verdict(results, one, other)}" for one, other in compared),
    ]
    head = ("", "photos", *(f"{one.label} less {other.label}" for one, other in compared))
    for metric in COMPARED:
        rows = [
            (
                _titled(group),
                f"{len(group.rows)}",
                *(signed(compare(group.of(a), group.of(b))[metric]) for a, b in compared),
            )
            for group in results.groups
        ]
        parts.append(f"### {METRICS[metric]}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def _verdict(results: Results, one: Contender, other: Contender) -> str:
    """Whether the first beats the second over all photos."""
    differences = compare(one.scores, other.scores)
    told = ", ".join(f"{METRICS[name]} {signed(differences[name])}" for name in COMPARED)
    ends = [differences[name] for name in COMPARED]
    if all(each.surely_positive for each in ends):
        verdict = "beats"
    elif all(each.surely_negative for each in ends):
        verdict = "is beaten by"
    else:
        verdict = "is not told apart, by both measures, from"
    return f"{one.label} {verdict} {other.label}: {told}."


def aims_text(results: Results) -> str:
    """Which aims were reached; nothing where none is of these models."""
    groups = {each.name: each for each in results.groups}
    rows = []
    for each in (each for each in results.contenders if each.way != NO_FACE):
        for aim in AIMS:
            if aim.model == each.spec.name and aim.group in groups:
                rows.append(_reached(aim, each, groups[aim.group]))
        rivals = [rival for rival in results.contenders if rival.main and rival.spec != each.spec]
        if each.spec.name == SUBJECT and rivals:
            rows += [_best(each, rivals, groups[name]) for name in BEST if name in groups]
    if not rows:
        return ""
    return f"## Aims\n\n{table(('model', 'photos', 'aim', 'measured', 'reached'), rows)}"


def _reached(aim: Aim, contender: Contender, group: Group) -> tuple[str, ...]:
    """By the figure itself; its interval is beside it."""
    value = estimate(group.of(contender))[aim.metric]
    wanted = f"{METRICS[aim.metric]} at least {aim.at_least}"
    reached = "yes" if value.value >= aim.at_least else "no"
    return contender.label, group.name, wanted, figure(value), reached


def _best(contender: Contender, rivals: Sequence[Contender], group: Group) -> tuple[str, ...]:
    """Against each rival the difference, the strongest of them told."""
    differences = {
        rival.label: compare(group.of(contender), group.of(rival))[COMPARED[0]] for rival in rivals
    }
    strongest = min(differences, key=lambda label: differences[label].value)
    least = differences[strongest]
    wanted = f"the best {METRICS[COMPARED[0]]}"
    told = f"{signed(least)} to {strongest}"
    return contender.label, group.name, wanted, told, "yes" if least.value > 0 else "no"


def _titled(group: Group) -> str:
    return group.name if group.kind == "all" else f"{group.kind} {group.name}"
