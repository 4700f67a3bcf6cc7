"""Computes the figures of the comparison from exchanges. All functions are pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

import numpy as np

from loadtests.compare.loops import Exchange, LoopResult
from loadtests.measurement.latency import Figures, latencies_ms, percentile_ms

THIRDS = ("first", "middle", "last")
MAX_P95_GROWTH = 1.5
"""Largest growth of the p95 latency from the first to the last third of an overload run.

A server with less growth holds its latency.
"""
MAX_UNANSWERED_SHARE = 0.01
"""Largest share of requests without a mask or a refusal in an overload that a server holds."""


def closed_loop_figures(
    result: LoopResult, *, server_s: float, client_s: float, machine_s: float
) -> Figures:
    """Returns the figures of a closed loop.

    `server_s`, `client_s` and `machine_s` are processor seconds of the server, the client and the
    whole machine.
    """
    invalid = sum(result.bodies.count_invalid().values())
    answered = _with_outcome(result.exchanges, "ok")
    valid, sent = len(answered) - invalid, len(result.exchanges)
    return {
        "sent": sent,
        "per_s": valid / result.seconds,
        "cpu_ms": 1000 * server_s / valid if valid else None,
        "client_cpu_ms": 1000 * client_s / max(1, sent),
        "others_share": _other_processors(result.seconds, server_s, client_s, machine_s),
        "error_share": 1 - valid / sent,
        "errors": count_errors(result),
    } | latencies(answered)


def overload_figures(
    result: LoopResult,
    *,
    per_s: float,
    seconds: float,
    client_s: float,
    machine_s: float,
    server_s: float,
) -> Figures:
    """Returns the figures of an overload in which requests arrived for `seconds`."""
    exchanges = result.exchanges
    invalid = sum(result.bodies.count_invalid().values())
    answered, refused = _with_outcome(exchanges, "ok"), _with_outcome(exchanges, "refused")
    sent = max(1, len(exchanges))
    figures: Figures = {
        "offered_per_s": per_s,
        "sent": len(exchanges),
        "goodput_per_s": (len(answered) - invalid) / seconds,
        "answered_share": (len(answered) - invalid) / sent,
        "refused_share": len(refused) / sent,
        "failed_share": (len(_with_outcome(exchanges, "failed")) + invalid) / sent,
        "late_share": len(_with_outcome(exchanges, "late")) / sent,
        "errors": count_errors(result),
        "accepted": latencies(answered),
        "refusals": latencies(refused),
        "thirds": thirds(exchanges, seconds),
        "health": health_figures(result.probes, seconds),
        "client_late_p95_ms": percentile_ms([exchange.send_delay_s for exchange in exchanges], 95),
        "server_share": server_s / result.seconds,
        "client_share": client_s / result.seconds,
        "others_share": _other_processors(result.seconds, server_s, client_s, machine_s),
        "timeline": timeline(exchanges, seconds),
    }
    return figures | {"holds": is_stable(figures)}


def is_stable(overload: Figures) -> bool:
    """Returns whether latency stays flat and nearly every request gets a mask or a refusal."""
    unanswered = overload["failed_share"] + overload["late_share"]
    first, _, last = (overload["thirds"][name]["p95_ms"] for name in THIRDS)
    is_answered = unanswered <= MAX_UNANSWERED_SHARE
    return bool(is_answered and first and last and last <= MAX_P95_GROWTH * first)


def thirds(exchanges: Sequence[Exchange], seconds: float) -> Figures:
    """Returns latencies of ok responses by third of the load. The due time decides the third."""
    return {
        name: latencies(
            [
                exchange
                for exchange in _with_outcome(exchanges, "ok")
                if number <= 3 * exchange.due_s / seconds < number + 1
            ]
        )
        for number, name in enumerate(THIRDS)
    }


def health_figures(probes: Iterable[Exchange], seconds: float) -> Figures:
    """Returns the figures of the probes that were due while requests arrived."""
    sent = [probe for probe in probes if probe.due_s < seconds]
    answered = _with_outcome(sent, "ok")
    return {"asked": len(sent), "answered": len(answered)} | latencies(answered)


def timeline(exchanges: Iterable[Exchange], seconds: float) -> list[Figures]:
    """Returns one row per second. A request belongs to the second of its due time."""
    slots: list[list[Exchange]] = [[] for _ in range(int(np.ceil(seconds)))]
    for exchange in exchanges:
        slots[int(exchange.due_s)].append(exchange)
    outcomes = ("ok", "refused", "failed", "late")
    return [
        {"at_s": at_s}
        | {outcome: len(_with_outcome(slot, outcome)) for outcome in outcomes}
        | {name: latencies(_with_outcome(slot, "ok"))[name] for name in ("p50_ms", "p95_ms")}
        for at_s, slot in enumerate(slots)
    ]


def latencies(exchanges: Sequence[Exchange]) -> Figures:
    """Returns the percentiles p50, p95 and p99 in milliseconds."""
    return latencies_ms([exchange.latency_s for exchange in exchanges])


def medians(rows: Sequence[Figures]) -> Figures:
    """Returns the median of each number over rows with the same names.

    None is left out of a median. Counts by name are added up.
    """
    return {
        name: (
            dict(sum((Counter(row[name]) for row in rows), Counter()))
            if isinstance(rows[0][name], dict)
            else _median([row[name] for row in rows])
        )
        for name in rows[0]
    }


def count_errors(result: LoopResult) -> Figures:
    """Counts requests without a valid mask by reason. Refusals are included."""
    errors = Counter(
        exchange.error or exchange.outcome
        for exchange in result.exchanges
        if exchange.outcome != "ok"
    )
    return dict(errors + Counter(result.bodies.count_invalid()))


def _median(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return median(numbers) if numbers else None


def _with_outcome(exchanges: Iterable[Exchange], outcome: str) -> list[Exchange]:
    return [exchange for exchange in exchanges if exchange.outcome == outcome]


def _other_processors(seconds: float, server_s: float, client_s: float, machine_s: float) -> float:
    """Returns the mean number of processors busy with neither the server nor the client."""
    return max(0.0, machine_s - server_s - client_s) / seconds
