"""Figures of a run: percentiles by kind and stage, shares, growth, and all of it over time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from loadtests.arrival import Stage
from loadtests.record import Kind, Record, Sample
from loadtests.shapes import length_s

Figures = dict[str, Any]
"""Ready for JSON."""

KINDS: tuple[Kind, ...] = ("photo", "batch", "stream", "health")
REQUESTS = ("photo", "batch")
"""What arrives at the rate of the shape."""
POINTS = 240
"""Of the timeline, at most; a second each at least."""


def capacity(record: Record, *, from_s: float, to_s: float) -> float:
    """Requests a second that were answered in that time."""
    done = sum(
        sample.kind in REQUESTS
        and sample.outcome == "ok"
        and from_s <= sample.due_s + sample.seconds < to_s
        for sample in record.samples
    )
    return done / (to_s - from_s)


def figures_of(
    record: Record, stages: Sequence[Stage], *, measured_capacity: float | None = None
) -> Figures:
    """What the thresholds and the report are about. Times are counted from the moment due."""
    figures = _summary(record.samples, length_s(stages))
    figures["names"] = _by_name(record.samples)
    figures["stages"] = _stages(record.samples)
    figures["phases"] = _phases(record.samples, stages)
    figures["generator"] = {
        "late_p95_ms": _percentile(
            [sample.late_s for sample in record.samples if sample.kind != "stream"], 95
        ),
        "frames_left_out": record.left_out,
    }
    if len(stages) > 1 and stages[0].level == stages[-1].level:
        figures["drift_share"] = _drift(figures["phases"], stages)
    if record.memory:
        figures["memory"] = _memory(record.memory)
    if measured_capacity:
        figures["capacity_per_s"] = measured_capacity
        highest = max(stages, key=lambda stage: stage.level).name
        figures["goodput_share"] = figures["phases"][highest]["ok_per_s"] / measured_capacity
    figures["failures"] = dict(record.failures().most_common(20))
    figures["timeline"] = timeline(record, length_s(stages))
    return figures


def _summary(samples: Sequence[Sample], seconds: float) -> Figures:
    requests = [sample for sample in samples if sample.kind in REQUESTS]
    summary: Figures = {
        "requests": len(requests),
        "ok_per_s": _count(requests, "ok") / seconds,
        "refused_share": _count(requests, "refused") / max(1, len(requests)),
        # Frames and probes that fail are failures too.
        "failed_share": _count(samples, "failed") / max(1, len(samples)),
    }
    for kind in KINDS:
        ours = [sample for sample in samples if sample.kind == kind]
        if ours:
            summary[kind] = _of_kind(ours)
    return summary


def _of_kind(samples: Sequence[Sample]) -> Figures:
    """Latencies are those of answers: a refusal is quick, and says nothing of them."""
    answered = [sample.seconds for sample in samples if sample.outcome == "ok"]
    counts = {
        outcome: _count(samples, outcome) for outcome in ("ok", "refused", "skipped", "failed")
    }
    return (
        {"sent": len(samples), **counts}
        | _latencies(answered)
        | {
            "refusal_p95_ms": _percentile(
                [sample.seconds for sample in samples if sample.outcome == "refused"], 95
            )
        }
    )


def _latencies(seconds: Sequence[float]) -> Figures:
    figures: Figures = {f"p{q}_ms": _percentile(seconds, q) for q in (50, 95, 99)}
    return figures | {"worst_ms": _percentile(seconds, 100)}


def _percentile(seconds: Sequence[float], q: float) -> float | None:
    """Milliseconds; None of nothing."""
    return float(1000 * np.percentile(seconds, q)) if seconds else None


def _count(samples: Iterable[Sample], outcome: str) -> int:
    return sum(sample.outcome == outcome for sample in samples)


def _by_name(samples: Iterable[Sample]) -> Figures:
    named: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        named[sample.name].append(sample)
    return {name: _of_kind(ours) for name, ours in sorted(named.items())}


def _stages(samples: Iterable[Sample]) -> Figures:
    """By kind and stage, in the order in which the server names them."""
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        for stage, spent in sample.stages.items():
            seconds[sample.kind][stage].append(spent)
    return {
        kind: {
            stage: {"mean_ms": 1000 * float(np.mean(spent))} | _latencies(spent)
            for stage, spent in of_kind.items()
        }
        for kind, of_kind in seconds.items()
    }


def _phases(samples: Sequence[Sample], stages: Sequence[Stage]) -> Figures:
    """A summary of what was due in each stage."""
    phases: Figures = {}
    began = 0.0
    for stage in stages:
        ended = began + stage.seconds
        ours = [sample for sample in samples if began <= sample.due_s < ended]
        phases[stage.name] = {"level": stage.level} | _summary(ours, stage.seconds)
        began = ended
    return phases


def _drift(phases: Figures, stages: Sequence[Stage]) -> float | None:
    """By how much photos took longer in the last phase than in the first, by their p99."""
    first, last = (phases[stage.name].get("photo", {}) for stage in (stages[0], stages[-1]))
    if not (first.get("p99_ms") and last.get("p99_ms")):
        return None
    return float(last["p99_ms"] / first["p99_ms"] - 1)


def _memory(memory: Sequence[tuple[float, float]]) -> Figures:
    """MB (10^6 bytes) of the server: of the first and of the last tenth of the readings, the one in
    the middle, since a reading while a large photo is in work says nothing of what stays.
    """
    megabytes = [size / 1e6 for _, size in memory]
    tenth = max(1, len(megabytes) // 10)
    first, last = median(megabytes[:tenth]), median(megabytes[-tenth:])
    return {
        "first_mb": first,
        "last_mb": last,
        "growth_mb": last - first,
        "peak_mb": max(megabytes),
    }


def timeline(record: Record, seconds: float) -> list[Figures]:
    """Rows of equal times, by the moment at which a request was due."""
    step = max(1.0, seconds / POINTS)
    slots: dict[int, list[Sample]] = defaultdict(list)
    for sample in record.samples:
        slots[int(sample.due_s / step)].append(sample)
    sizes = {int(at_s / step): size / 1e6 for at_s, size in record.memory}
    return [
        {"at_s": slot * step, "rss_mb": sizes.get(slot)} | _row(slots[slot], step)
        for slot in sorted({*slots, *sizes})
    ]


def _row(samples: Sequence[Sample], step: float) -> Figures:
    requests = [sample for sample in samples if sample.kind in REQUESTS]
    row: Figures = {"offered_per_s": len(requests) / step}
    for outcome in ("ok", "refused", "failed"):
        row[f"{outcome}_per_s"] = _count(requests, outcome) / step
    for kind in KINDS:
        answered = [s.seconds for s in samples if s.kind == kind and s.outcome == "ok"]
        row[f"{kind}_p50_ms"] = _percentile(answered, 50)
        row[f"{kind}_p95_ms"] = _percentile(answered, 95)
    return row | {"stages_ms": _means(s.stages for s in samples if s.kind == "photo")}


def _means(stages: Iterable[Mapping[str, float]]) -> Figures:
    seconds: dict[str, list[float]] = defaultdict(list)
    for each in stages:
        for stage, spent in each.items():
            seconds[stage].append(spent)
    return {stage: 1000 * float(np.mean(spent)) for stage, spent in seconds.items()}
