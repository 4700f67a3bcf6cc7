"""Computes the figures of a run: latencies, shares and growth, in total and over time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import numpy as np

from loadtests.measurement.latency import Figures, latencies_ms, percentile_ms
from loadtests.measurement.record import RunRecord, Sample
from loadtests.scenario.arrival import Phase
from loadtests.scenario.request_mix import RequestKind
from loadtests.scenario.shapes import total_s

KINDS: tuple[RequestKind, ...] = ("photo", "batch", "stream", "health")
REQUEST_KINDS = ("photo", "batch")
"""Kinds of requests that arrive at the rate of the shape."""
MAX_TIMELINE_ROWS = 240
"""Maximum rows of the timeline. A row covers at least a second."""


def answered_per_s(record: RunRecord, *, from_s: float, to_s: float) -> float:
    """Returns the photos and batches answered per second in an interval."""
    answered = sum(
        sample.kind in REQUEST_KINDS
        and sample.outcome == "ok"
        and from_s <= sample.due_s + sample.latency_s < to_s
        for sample in record.samples
    )
    return answered / (to_s - from_s)


def compute_figures(
    record: RunRecord, phases: Sequence[Phase], *, measured_capacity: float | None = None
) -> Figures:
    """Returns all figures for thresholds and report. Latencies are counted from the due time."""
    figures = _summary(record.samples, total_s(phases))
    figures["names"] = _by_name(record.samples)
    figures["stages"] = _stages(record.samples)
    figures["phases"] = _phases(record.samples, phases)
    figures["generator"] = {
        "late_p95_ms": percentile_ms(
            [sample.send_delay_s for sample in record.samples if sample.kind != "stream"], 95
        ),
        "frames_left_out": record.frames_without_credit,
    }
    if len(phases) > 1 and phases[0].level == phases[-1].level:
        figures["drift_share"] = _drift(figures["phases"], phases)
    if record.memory:
        figures["memory"] = _memory(record.memory)
    if measured_capacity:
        figures["capacity_per_s"] = measured_capacity
        highest = max(phases, key=lambda phase: phase.level).name
        figures["goodput_share"] = figures["phases"][highest]["ok_per_s"] / measured_capacity
    figures["failures"] = dict(record.count_failures().most_common(20))
    figures["timeline"] = timeline(record, total_s(phases))
    return figures


def _summary(samples: Sequence[Sample], seconds: float) -> Figures:
    requests = [sample for sample in samples if sample.kind in REQUEST_KINDS]
    summary: Figures = {
        "requests": len(requests),
        "ok_per_s": _count(requests, "ok") / seconds,
        "refused_share": _count(requests, "refused") / max(1, len(requests)),
        # Failed frames and probes count as well.
        "failed_share": _count(samples, "failed") / max(1, len(samples)),
    }
    for kind in KINDS:
        of_kind = [sample for sample in samples if sample.kind == kind]
        if of_kind:
            summary[kind] = _outcome_figures(of_kind)
    return summary


def _outcome_figures(samples: Sequence[Sample]) -> Figures:
    """Counts outcomes and computes latencies, separately for ok responses and fast refusals."""
    answered = [sample.latency_s for sample in samples if sample.outcome == "ok"]
    counts = {
        outcome: _count(samples, outcome) for outcome in ("ok", "refused", "skipped", "failed")
    }
    return (
        {"sent": len(samples), **counts}
        | _all_latencies(answered)
        | {
            "refusal_p95_ms": percentile_ms(
                [sample.latency_s for sample in samples if sample.outcome == "refused"], 95
            )
        }
    )


def _all_latencies(seconds: Sequence[float]) -> Figures:
    return latencies_ms(seconds) | {"worst_ms": percentile_ms(seconds, 100)}


def _count(samples: Iterable[Sample], outcome: str) -> int:
    return sum(sample.outcome == outcome for sample in samples)


def _by_name(samples: Iterable[Sample]) -> Figures:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.name].append(sample)
    return {name: _outcome_figures(group) for name, group in sorted(groups.items())}


def _stages(samples: Iterable[Sample]) -> Figures:
    """Computes latencies by kind and server stage, in the order of the Server-Timing header."""
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        for stage, duration_s in sample.stages.items():
            seconds[sample.kind][stage].append(duration_s)
    return {
        kind: {
            stage: {"mean_ms": 1000 * float(np.mean(durations))} | _all_latencies(durations)
            for stage, durations in of_kind.items()
        }
        for kind, of_kind in seconds.items()
    }


def _phases(samples: Sequence[Sample], phases: Sequence[Phase]) -> Figures:
    """Summarises the samples that were due in each phase."""
    figures: Figures = {}
    start_s = 0.0
    for phase in phases:
        end_s = start_s + phase.seconds
        due = [sample for sample in samples if start_s <= sample.due_s < end_s]
        figures[phase.name] = {"level": phase.level} | _summary(due, phase.seconds)
        start_s = end_s
    return figures


def _drift(figures: Figures, phases: Sequence[Phase]) -> float | None:
    """Returns the growth of the p99 of photos from the first phase to the last, as a share."""
    first, last = (figures[phase.name].get("photo", {}) for phase in (phases[0], phases[-1]))
    if not (first.get("p99_ms") and last.get("p99_ms")):
        return None
    return float(last["p99_ms"] / first["p99_ms"] - 1)


def _memory(memory: Sequence[tuple[float, float]]) -> Figures:
    """Returns the server's memory in MB (10^6 bytes): peak, and growth between two medians.

    The medians are of the first and of the last tenth of the readings. A single reading may be
    taken while a large photo is processed.
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


def timeline(record: RunRecord, seconds: float) -> list[Figures]:
    """Returns rows of equal duration. A request belongs to the row of its due time."""
    step = max(1.0, seconds / MAX_TIMELINE_ROWS)
    slots: dict[int, list[Sample]] = defaultdict(list)
    for sample in record.samples:
        slots[int(sample.due_s / step)].append(sample)
    sizes = {int(at_s / step): size / 1e6 for at_s, size in record.memory}
    return [
        {"at_s": slot * step, "rss_mb": sizes.get(slot)} | _row(slots[slot], step)
        for slot in sorted({*slots, *sizes})
    ]


def _row(samples: Sequence[Sample], step: float) -> Figures:
    requests = [sample for sample in samples if sample.kind in REQUEST_KINDS]
    row: Figures = {"offered_per_s": len(requests) / step}
    for outcome in ("ok", "refused", "failed"):
        row[f"{outcome}_per_s"] = _count(requests, outcome) / step
    for kind in KINDS:
        answered = [s.latency_s for s in samples if s.kind == kind and s.outcome == "ok"]
        row[f"{kind}_p50_ms"] = percentile_ms(answered, 50)
        row[f"{kind}_p95_ms"] = percentile_ms(answered, 95)
    return row | {"stages_ms": _mean_stages_ms(s.stages for s in samples if s.kind == "photo")}


def _mean_stages_ms(samples: Iterable[Mapping[str, float]]) -> Figures:
    seconds: dict[str, list[float]] = defaultdict(list)
    for stages in samples:
        for stage, duration_s in stages.items():
            seconds[stage].append(duration_s)
    return {stage: 1000 * float(np.mean(durations)) for stage, durations in seconds.items()}
