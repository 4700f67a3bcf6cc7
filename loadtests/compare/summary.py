"""Figures from samples, pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

import numpy as np

from loadtests.compare.load import Load, Sample

Figures = dict[str, Any]
"""Ready for JSON."""

THIRDS = ("first", "middle", "last")
FLAT = 1.5
"""Times the p95 of the first third that the last one may have and still be called flat."""
FAILED_AT_MOST = 0.01
"""Of what was sent in an overload, by a server that is said to hold."""


def closed_figures(load: Load, *, server_s: float, client_s: float, machine_s: float) -> Figures:
    """A run of clients who wait. Seconds of processor time: of the server, of the client and of
    the whole machine.
    """
    wrong = sum(load.bodies.wrong().values())
    answered = _with(load.samples, "ok")
    good = len(answered) - wrong
    return {
        "sent": len(load.samples),
        "per_s": good / load.seconds,
        "cpu_ms": 1000 * server_s / good if good else None,
        "client_cpu_ms": 1000 * client_s / max(1, len(load.samples)),
        "others_share": _others(load.seconds, server_s, client_s, machine_s),
        "error_share": 1 - good / len(load.samples),
        "errors": errors(load),
    } | latencies(answered)


def overload_figures(
    load: Load, *, per_s: float, seconds: float, client_s: float, machine_s: float, server_s: float
) -> Figures:
    """What a server made of more than it can do; `seconds` is how long requests arrived."""
    wrong = sum(load.bodies.wrong().values())
    answered, refused = _with(load.samples, "ok"), _with(load.samples, "refused")
    sent = max(1, len(load.samples))
    found: Figures = {
        "offered_per_s": per_s,
        "sent": len(load.samples),
        "goodput_per_s": (len(answered) - wrong) / seconds,
        "answered_share": (len(answered) - wrong) / sent,
        "refused_share": len(refused) / sent,
        "failed_share": (len(_with(load.samples, "failed")) + wrong) / sent,
        "late_share": len(_with(load.samples, "late")) / sent,
        "errors": errors(load),
        "accepted": latencies(answered),
        "refusals": latencies(refused),
        "thirds": thirds(load.samples, seconds),
        "health": health(load.probes, seconds),
        "client_late_p95_ms": _percentile([sample.late_s for sample in load.samples], 95),
        "server_share": server_s / load.seconds,
        "client_share": client_s / load.seconds,
        "others_share": _others(load.seconds, server_s, client_s, machine_s),
        "timeline": timeline(load.samples, seconds),
    }
    return found | {"holds": holds(found)}


def holds(overload: Figures) -> bool:
    """Latency stays flat and nobody is left without an answer."""
    unanswered = overload["failed_share"] + overload["late_share"]
    first, _, last = (overload["thirds"][name]["p95_ms"] for name in THIRDS)
    return bool(unanswered <= FAILED_AT_MOST and first and last and last <= FLAT * first)


def thirds(samples: Sequence[Sample], seconds: float) -> Figures:
    """Latencies of what was accepted, by when it was due."""
    return {
        name: latencies(
            [
                sample
                for sample in _with(samples, "ok")
                if number <= 3 * sample.due_s / seconds < number + 1
            ]
        )
        for number, name in enumerate(THIRDS)
    }


def health(probes: Iterable[Sample], seconds: float) -> Figures:
    """Of the probes that were due while requests arrived."""
    asked = [probe for probe in probes if probe.due_s < seconds]
    answered = _with(asked, "ok")
    return {"asked": len(asked), "answered": len(answered)} | latencies(answered)


def timeline(samples: Iterable[Sample], seconds: float) -> list[Figures]:
    """A row for each second, by when a request was due."""
    slots: list[list[Sample]] = [[] for _ in range(int(np.ceil(seconds)))]
    for sample in samples:
        slots[int(sample.due_s)].append(sample)
    return [
        {"at_s": at_s}
        | {outcome: len(_with(slot, outcome)) for outcome in ("ok", "refused", "failed", "late")}
        | {name: latencies(_with(slot, "ok"))[name] for name in ("p50_ms", "p95_ms")}
        for at_s, slot in enumerate(slots)
    ]


def latencies(samples: Sequence[Sample]) -> Figures:
    seconds = [sample.seconds for sample in samples]
    return {f"p{q}_ms": _percentile(seconds, q) for q in (50, 95, 99)}


def medians(rows: Sequence[Figures]) -> Figures:
    """Of each number over rows alike, None being no number; counts are added up."""
    return {
        name: (
            dict(sum((Counter(row[name]) for row in rows), Counter()))
            if isinstance(rows[0][name], dict)
            else _median([row[name] for row in rows])
        )
        for name in rows[0]
    }


def errors(load: Load) -> Figures:
    """How many by what they were; refusals are none of the server's errors but no answers."""
    found = Counter(
        sample.why or sample.outcome for sample in load.samples if sample.outcome != "ok"
    )
    return dict(found + Counter(load.bodies.wrong()))


def _median(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return median(numbers) if numbers else None


def _with(samples: Iterable[Sample], outcome: str) -> list[Sample]:
    return [sample for sample in samples if sample.outcome == outcome]


def _percentile(seconds: Sequence[float], q: float) -> float | None:
    """Milliseconds; None of nothing."""
    return float(1000 * np.percentile(seconds, q)) if seconds else None


def _others(seconds: float, server_s: float, client_s: float, machine_s: float) -> float:
    """Processors that were busy with neither the server nor the client."""
    return max(0.0, machine_s - server_s - client_s) / seconds
