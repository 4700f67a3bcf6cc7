"""Tests of the figures of a run."""

import pytest

from loadtests.measurement.figures import answered_per_s, compute_figures
from loadtests.measurement.record import RunRecord, Sample
from loadtests.scenario.arrival import Phase

PHASES = (Phase("calm", 10, 1), Phase("busy", 10, 3))


def sample(due_s=0.0, latency_s=0.1, *, kind="photo", outcome="ok", **more) -> Sample:
    return Sample(kind, f"{kind} a", outcome, due_s, latency_s, **more)


def figures(*samples: Sample, **more):
    return compute_figures(RunRecord(list(samples)), PHASES, **more)


def test_latencies_exclude_refusals_and_failures():
    row = figures(
        *(sample(latency_s=number / 100) for number in range(101)),
        sample(latency_s=9, outcome="refused"),
        sample(latency_s=9, outcome="failed"),
    )["photo"]
    assert (row["sent"], row["ok"], row["refused"], row["failed"]) == (103, 101, 1, 1)
    assert row["p50_ms"] == pytest.approx(500)
    assert row["p95_ms"] == pytest.approx(950)
    assert row["worst_ms"] == pytest.approx(1000)
    assert row["refusal_p95_ms"] == pytest.approx(9000)


def test_latency_without_ok_response_is_none():
    row = figures(sample(outcome="failed"))["photo"]
    assert row["p95_ms"] is None
    assert row["sent"] == 1


def test_failed_share_includes_frames_and_probes():
    found = figures(
        sample(),
        sample(outcome="refused"),
        sample(kind="batch"),
        sample(kind="batch", outcome="refused"),
        *(sample(kind="health") for _ in range(5)),
        sample(kind="stream", outcome="failed", error="gone"),
    )
    assert found["requests"] == 4
    assert found["refused_share"] == 0.5
    assert found["failed_share"] == 0.1
    assert found["failures"] == {"stream a: gone": 1}


def test_phase_contains_samples_that_were_due_in_it():
    phases = figures(sample(9.9, 5.0), sample(10.0), sample(19.9), sample(3.0))["phases"]
    assert phases["calm"]["photo"]["sent"] == 2
    assert phases["busy"]["photo"]["sent"] == 2
    assert phases["busy"]["ok_per_s"] == pytest.approx(0.2)


def test_goodput_share_is_rate_at_highest_load_over_capacity():
    found = figures(
        *(sample(number / 10) for number in range(100)),
        *(sample(10 + number / 10) for number in range(45)),
        *(sample(10, outcome="refused") for _ in range(100)),
        measured_capacity=5.0,
    )
    assert found["goodput_share"] == pytest.approx(0.9)


def test_answered_rate_counts_ok_requests_of_interval():
    record = RunRecord(
        [
            sample(1.0, 0.5),
            sample(1.9, 0.2),
            sample(5.0, 0.5),
            sample(9.9, 0.2),
            sample(5.0, outcome="refused"),
            sample(5.0, kind="stream"),
        ]
    )
    assert answered_per_s(record, from_s=2, to_s=10) == pytest.approx(2 / 8)


def test_stages_are_grouped_by_kind_in_server_order():
    stages = figures(
        sample(stages={"decode": 0.01, "infer": 0.03}),
        sample(stages={"decode": 0.03, "infer": 0.05}),
        sample(kind="stream", stages={"server": 0.02}),
    )["stages"]
    assert list(stages["photo"]) == ["decode", "infer"]
    assert stages["photo"]["decode"]["mean_ms"] == pytest.approx(20)
    assert stages["stream"]["server"]["p95_ms"] == pytest.approx(20)


def test_memory_growth_is_last_reading_minus_first():
    record = RunRecord([sample()], memory=[(0, 100e6), (1, 180e6), (2, 130e6)])
    assert compute_figures(record, PHASES)["memory"] == {
        "first_mb": 100.0,
        "last_mb": 130.0,
        "growth_mb": 30.0,
        "peak_mb": 180.0,
    }


def test_memory_growth_ignores_single_high_reading():
    sizes = [100.0] * 37 + [110.0, 110.0, 250.0]
    record = RunRecord([sample()], memory=[(at, 1e6 * size) for at, size in enumerate(sizes)])
    memory = compute_figures(record, PHASES)["memory"]
    assert memory["growth_mb"] == pytest.approx(10.0)
    assert memory["peak_mb"] == pytest.approx(250.0)


def test_memory_figures_are_missing_without_readings():
    assert "memory" not in figures(sample())


def test_generator_figures_have_p95_of_send_delay():
    late = figures(*(sample(send_delay_s=number / 100) for number in range(101)))["generator"]
    assert late["late_p95_ms"] == pytest.approx(950)


def test_timeline_row_contains_samples_due_in_it():
    rows = figures(sample(2.1, 0.5), sample(2.9, 0.7), sample(2.2, outcome="refused"))["timeline"]
    (row,) = rows
    assert row["at_s"] == 2
    assert row["offered_per_s"] == 3
    assert (row["ok_per_s"], row["refused_per_s"]) == (2, 1)
    assert row["photo_p50_ms"] == pytest.approx(600)
    assert row["health_p50_ms"] is None


def test_drift_compares_first_and_last_phase_of_same_level():
    same = (Phase("first", 10, 2), Phase("more", 10, 9), Phase("last", 10, 2))
    record = RunRecord([sample(1, 0.2), sample(11, 5.0), sample(21, 0.3)])
    assert compute_figures(record, same)["drift_share"] == pytest.approx(0.5)
    assert "drift_share" not in compute_figures(record, PHASES)
    assert compute_figures(RunRecord([sample(1)]), same)["drift_share"] is None
