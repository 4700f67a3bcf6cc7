"""Tests of the figures of the comparison."""

import pytest

from loadtests.compare.loops import Exchange, LoopResult
from loadtests.compare.summary import (
    closed_loop_figures,
    health_figures,
    is_stable,
    medians,
    overload_figures,
    thirds,
    timeline,
)
from tests.support.mask_server import mask_png


def loop(*exchanges: Exchange, bodies: tuple[bytes, ...] = (), seconds: float = 10.0) -> LoopResult:
    """Returns a result with one valid mask per ok exchange unless `bodies` are given."""
    result = LoopResult(list(exchanges), seconds=seconds)
    for body in bodies or [mask_png()] * sum(exchange.outcome == "ok" for exchange in exchanges):
        result.bodies.add(body)
    return result


def closed_loop(result: LoopResult):
    return closed_loop_figures(result, server_s=4.0, client_s=1.0, machine_s=7.0)


def overload(result: LoopResult):
    return overload_figures(
        result, per_s=30.0, seconds=9.0, server_s=4.0, client_s=1.0, machine_s=7.0
    )


def steady(seconds: float = 0.1, *, last: float | None = None) -> list[Exchange]:
    """Returns ten ok exchanges per second for nine seconds; `last` is the last third's latency."""
    slow = seconds if last is None else last
    return [Exchange(n / 10, slow if n >= 60 else seconds, "ok") for n in range(90)]


def test_closed_loop_has_rate_costs_and_latencies():
    row = closed_loop(loop(*(Exchange(n, (n + 1) / 100, "ok") for n in range(100))))
    assert row["per_s"] == 10
    assert row["cpu_ms"] == 40
    assert row["client_cpu_ms"] == 10
    assert row["others_share"] == pytest.approx(0.2)
    assert row["error_share"] == 0
    assert row["p50_ms"] == pytest.approx(505)
    assert row["p99_ms"] == pytest.approx(990.1)


def test_invalid_mask_counts_as_error():
    bodies = (mask_png(), b"bad")
    row = closed_loop(loop(Exchange(0, 1, "ok"), Exchange(1, 1, "ok"), bodies=bodies))
    assert (row["per_s"], row["error_share"], row["cpu_ms"]) == (0.1, 0.5, 4000)
    assert row["errors"] == {"not a PNG": 1}


def test_server_without_masks_has_no_cost_per_mask():
    row = closed_loop(loop(Exchange(0, 1, "failed", "status 500"), Exchange(0, 1, "refused")))
    assert (row["per_s"], row["cpu_ms"], row["p50_ms"], row["error_share"]) == (0, None, None, 1)
    assert row["errors"] == {"status 500": 1, "refused": 1}


def test_medians_ignore_none_and_add_counts():
    rows = [{"a": 1.0, "b": None, "errors": {"x": 1}}, {"a": 5.0, "b": 3.0, "errors": {"x": 2}}]
    rows.append({"a": 2.0, "b": None, "errors": {}})
    assert medians(rows) == {"a": 2.0, "b": 3.0, "errors": {"x": 3}}


def test_overload_figures_are_shares_of_all_outcomes():
    figures = overload(
        loop(
            *steady(),
            *(Exchange(n, 0.002, "refused") for n in range(8)),
            Exchange(1, 10, "late"),
            Exchange(1, 0.1, "failed", "status 500"),
        )
    )
    assert figures["goodput_per_s"] == 10
    assert figures["answered_share"] == 0.9
    assert figures["refused_share"] == 0.08
    assert (figures["late_share"], figures["failed_share"]) == (0.01, 0.01)
    assert figures["refusals"]["p95_ms"] == pytest.approx(2)
    assert (figures["server_share"], figures["client_share"]) == (0.4, 0.1)
    assert figures["errors"] == {"refused": 8, "late": 1, "status 500": 1}


@pytest.mark.parametrize(
    ("samples", "flat"),
    [
        (steady(), True),
        (steady(last=0.14), True),
        (steady(last=0.2), False),
        ([*steady(), *(Exchange(n, 0.001, "refused") for n in range(9))], True),
        ([*steady(), Exchange(1, 10, "late"), Exchange(2, 1, "failed")], False),
        ([Exchange(8, 0.1, "ok")], False),
        ([Exchange(1, 0.1, "ok")], False),
    ],
    ids=["even", "slight", "climbs", "refuses", "late", "first empty", "last empty"],
)
def test_overload_is_stable_with_flat_latency_and_all_answered(samples, flat):
    figures = overload(loop(*samples))
    assert is_stable(figures) is figures["holds"] is flat


def test_thirds_group_ok_exchanges_by_due_time():
    figures = thirds(
        [
            Exchange(0, 1, "ok"),
            Exchange(3, 2, "ok"),
            Exchange(8.9, 3, "ok"),
            Exchange(8, 9, "late"),
        ],
        9,
    )
    assert [figures[name]["p95_ms"] for name in ("first", "middle", "last")] == [1000, 2000, 3000]


def test_health_figures_exclude_probes_after_load():
    probes = [Exchange(1, 0.01, "ok"), Exchange(2, 2, "late"), Exchange(9.5, 0.5, "ok")]
    figures = health_figures(probes, 9)
    assert (figures["asked"], figures["answered"]) == (2, 1)
    assert figures["p95_ms"] == pytest.approx(10)


def test_timeline_row_contains_exchanges_due_in_second():
    exchanges = [Exchange(1.9, 3, "ok"), Exchange(1.0, 1, "ok"), Exchange(1.5, 0, "refused")]
    rows = timeline(exchanges, 2.5)
    assert [row["at_s"] for row in rows] == [0, 1, 2]
    assert rows[0]["p50_ms"] is None
    assert (rows[1]["ok"], rows[1]["refused"], rows[1]["failed"], rows[1]["late"]) == (2, 1, 0, 0)
    assert rows[1]["p50_ms"] == pytest.approx(2000)
