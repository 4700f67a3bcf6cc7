"""How good the models are: by group, against each other, against what was aimed at."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from training.metrics import compare, estimate
from training.report.markdown import figure, signed, table
from training.report.results import METRICS, Results
from training.report.scores import NO_FACE, OWN, REFERENCE, Contender, Group

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
    """The model that takes a domain stands here as it is compared: with the reference's."""
    mains = [each for each in results.contenders if each.main]
    by_name = {each.spec.name: each for each in mains}
    groups = {each.name: each for each in results.groups}
    rows = []
    for aim in AIMS:
        if aim.model in by_name and aim.group in groups:
            value = estimate(groups[aim.group].of(by_name[aim.model]))[aim.metric]
            reached = "yes" if value.value >= aim.at_least else "no"
            what = f"{aim.model}, {aim.group}: {METRICS[aim.metric]} at least {aim.at_least}"
            rows.append((what, figure(value), reached))
    for name in BEST if SUBJECT in by_name and len(mains) > 1 else ():
        if name in groups:
            means = {
                each.spec.name: estimate(groups[name].of(each))["miou_image_mean"].value
                for each in mains
            }
            best = max(means, key=lambda model: means[model])
            what = f"{SUBJECT}, {name}: the best {METRICS['miou_image_mean']}"
            rows.append((what, f"{best}, {means[best]:.2f}", "yes" if best == SUBJECT else "no"))
    if not rows:
        return ""
    return f"## Aims\n\n{table(('aim', 'measured', 'reached'), rows)}"


def _titled(group: Group) -> str:
    return group.name if group.kind == "all" else f"{group.kind} {group.name}"
