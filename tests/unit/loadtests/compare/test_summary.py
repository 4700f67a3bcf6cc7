"""Figures of the comparison, from samples."""

import pytest

from loadtests.compare.load import Load, Sample
from loadtests.compare.summary import (
    closed_figures,
    health,
    holds,
    medians,
    overload_figures,
    thirds,
    timeline,
)
from tests.support.mask_server import mask_png


def load(*samples: Sample, bodies: tuple[bytes, ...] = (), seconds: float = 10.0) -> Load:
    found = Load(list(samples), seconds=seconds)
    for body in bodies or [mask_png()] * sum(sample.outcome == "ok" for sample in samples):
        found.bodies.add(body)
    return found


def of_closed(found: Load):
    return closed_figures(found, server_s=4.0, client_s=1.0, machine_s=7.0)


def of_overload(found: Load):
    return overload_figures(
        found, per_s=30.0, seconds=9.0, server_s=4.0, client_s=1.0, machine_s=7.0
    )


def steady(seconds: float = 0.1, *, last: float | None = None) -> list[Sample]:
    """Ten answers a second for nine seconds; the last third may take another time."""
    slow = seconds if last is None else last
    return [Sample(n / 10, slow if n >= 60 else seconds, "ok") for n in range(90)]


def test_a_closed_run_has_rates_costs_and_latencies():
    row = of_closed(load(*(Sample(n, (n + 1) / 100, "ok") for n in range(100))))
    assert row["per_s"] == 10
    assert row["cpu_ms"] == 40
    assert row["client_cpu_ms"] == 10
    assert row["others_share"] == pytest.approx(0.2)
    assert row["error_share"] == 0
    assert row["p50_ms"] == pytest.approx(505)
    assert row["p99_ms"] == pytest.approx(990.1)


def test_an_answer_that_is_no_mask_is_an_error_and_no_work_done():
    bodies = (mask_png(), b"bad")
    row = of_closed(load(Sample(0, 1, "ok"), Sample(1, 1, "ok"), bodies=bodies))
    assert (row["per_s"], row["error_share"], row["cpu_ms"]) == (0.1, 0.5, 4000)
    assert row["errors"] == {"no PNG": 1}


def test_a_server_that_gives_nothing_has_no_cost_of_a_mask():
    row = of_closed(load(Sample(0, 1, "failed", "status 500"), Sample(0, 1, "refused")))
    assert (row["per_s"], row["cpu_ms"], row["p50_ms"], row["error_share"]) == (0, None, None, 1)
    assert row["errors"] == {"status 500": 1, "refused": 1}


def test_medians_leave_out_what_is_missing_and_add_counts_up():
    rows = [{"a": 1.0, "b": None, "errors": {"x": 1}}, {"a": 5.0, "b": 3.0, "errors": {"x": 2}}]
    rows.append({"a": 2.0, "b": None, "errors": {}})
    assert medians(rows) == {"a": 2.0, "b": 3.0, "errors": {"x": 3}}


def test_an_overload_is_told_by_what_became_of_all():
    found = of_overload(
        load(
            *steady(),
            *(Sample(n, 0.002, "refused") for n in range(8)),
            Sample(1, 10, "late"),
            Sample(1, 0.1, "failed", "status 500"),
        )
    )
    assert found["goodput_per_s"] == 10
    assert found["answered_share"] == 0.9
    assert found["refused_share"] == 0.08
    assert (found["late_share"], found["failed_share"]) == (0.01, 0.01)
    assert found["refusals"]["p95_ms"] == pytest.approx(2)
    assert (found["server_share"], found["client_share"]) == (0.4, 0.1)
    assert found["errors"] == {"refused": 8, "late": 1, "status 500": 1}


@pytest.mark.parametrize(
    ("samples", "flat"),
    [
        (steady(), True),
        (steady(last=0.14), True),
        (steady(last=0.2), False),
        ([*steady(), *(Sample(n, 0.001, "refused") for n in range(9))], True),
        ([*steady(), Sample(1, 10, "late"), Sample(2, 1, "failed")], False),
        ([Sample(8, 0.1, "ok")], False),
        ([Sample(1, 0.1, "ok")], False),
    ],
    ids=["even", "a little", "climbs", "refuses", "late", "nothing first", "nothing last"],
)
def test_flat_is_even_latency_and_an_answer_for_everybody(samples, flat):
    found = of_overload(load(*samples))
    assert holds(found) is found["holds"] is flat


def test_thirds_are_by_the_moment_due_and_of_answers_alone():
    found = thirds(
        [Sample(0, 1, "ok"), Sample(3, 2, "ok"), Sample(8.9, 3, "ok"), Sample(8, 9, "late")], 9
    )
    assert [found[name]["p95_ms"] for name in ("first", "middle", "last")] == [1000, 2000, 3000]


def test_health_is_of_the_time_of_the_load():
    found = health([Sample(1, 0.01, "ok"), Sample(2, 2, "late"), Sample(9.5, 0.5, "ok")], 9)
    assert (found["asked"], found["answered"]) == (2, 1)
    assert found["p95_ms"] == pytest.approx(10)


def test_a_second_of_the_timeline_has_what_was_due_in_it():
    rows = timeline([Sample(1.9, 3, "ok"), Sample(1.0, 1, "ok"), Sample(1.5, 0, "refused")], 2.5)
    assert [row["at_s"] for row in rows] == [0, 1, 2]
    assert rows[0]["p50_ms"] is None
    assert (rows[1]["ok"], rows[1]["refused"], rows[1]["failed"], rows[1]["late"]) == (2, 1, 0, 0)
    assert rows[1]["p50_ms"] == pytest.approx(2000)
