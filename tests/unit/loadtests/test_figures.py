"""Figures from samples."""

import pytest

from loadtests.arrival import Stage
from loadtests.figures import capacity, figures_of
from loadtests.record import Record, Sample

STAGES = (Stage("calm", 10, 1), Stage("busy", 10, 3))


def sample(due_s=0.0, seconds=0.1, *, kind="photo", outcome="ok", **more) -> Sample:
    return Sample(kind, f"{kind} a", outcome, due_s, seconds, **more)


def figures(*samples: Sample, **more):
    return figures_of(Record(list(samples)), STAGES, **more)


def test_latencies_are_those_of_answers_and_not_of_refusals():
    row = figures(
        *(sample(seconds=number / 100) for number in range(101)),
        sample(seconds=9, outcome="refused"),
        sample(seconds=9, outcome="failed"),
    )["photo"]
    assert (row["sent"], row["ok"], row["refused"], row["failed"]) == (103, 101, 1, 1)
    assert row["p50_ms"] == pytest.approx(500)
    assert row["p95_ms"] == pytest.approx(950)
    assert row["worst_ms"] == pytest.approx(1000)
    assert row["refusal_p95_ms"] == pytest.approx(9000)


def test_nothing_answered_has_no_latency():
    row = figures(sample(outcome="failed"))["photo"]
    assert row["p95_ms"] is None
    assert row["sent"] == 1


def test_refusals_are_a_share_of_requests_and_failures_one_of_everything():
    found = figures(
        sample(),
        sample(outcome="refused"),
        sample(kind="batch"),
        sample(kind="batch", outcome="refused"),
        *(sample(kind="health") for _ in range(5)),
        sample(kind="stream", outcome="failed", why="gone"),
    )
    assert found["requests"] == 4
    assert found["refused_share"] == 0.5
    assert found["failed_share"] == 0.1
    assert found["failures"] == {"stream a: gone": 1}


def test_a_phase_has_what_was_due_in_it_however_late_it_ended():
    phases = figures(sample(9.9, 5.0), sample(10.0), sample(19.9), sample(3.0))["phases"]
    assert phases["calm"]["photo"]["sent"] == 2
    assert phases["busy"]["photo"]["sent"] == 2
    assert phases["busy"]["ok_per_s"] == pytest.approx(0.2)


def test_goodput_is_what_was_answered_at_the_highest_load():
    found = figures(
        *(sample(number / 10) for number in range(100)),
        *(sample(10 + number / 10) for number in range(45)),
        *(sample(10, outcome="refused") for _ in range(100)),
        measured_capacity=5.0,
    )
    assert found["goodput_share"] == pytest.approx(0.9)


def test_capacity_counts_what_was_answered_between_two_moments():
    record = Record(
        [
            sample(1.0, 0.5),
            sample(1.9, 0.2),
            sample(5.0, 0.5),
            sample(9.9, 0.2),
            sample(5.0, outcome="refused"),
            sample(5.0, kind="stream"),
        ]
    )
    assert capacity(record, from_s=2, to_s=10) == pytest.approx(2 / 8)


def test_stages_are_by_kind_and_in_the_order_of_the_server():
    stages = figures(
        sample(stages={"decode": 0.01, "infer": 0.03}),
        sample(stages={"decode": 0.03, "infer": 0.05}),
        sample(kind="stream", stages={"server": 0.02}),
    )["stages"]
    assert list(stages["photo"]) == ["decode", "infer"]
    assert stages["photo"]["decode"]["mean_ms"] == pytest.approx(20)
    assert stages["stream"]["server"]["p95_ms"] == pytest.approx(20)


def test_growth_is_from_the_first_readings_to_the_last():
    record = Record([sample()], memory=[(0, 100e6), (1, 180e6), (2, 130e6)])
    assert figures_of(record, STAGES)["memory"] == {
        "first_mb": 100.0,
        "last_mb": 130.0,
        "growth_mb": 30.0,
        "peak_mb": 180.0,
    }


def test_a_large_photo_at_the_end_is_no_growth():
    sizes = [100.0] * 37 + [110.0, 110.0, 250.0]
    record = Record([sample()], memory=[(at, 1e6 * size) for at, size in enumerate(sizes)])
    memory = figures_of(record, STAGES)["memory"]
    assert memory["growth_mb"] == pytest.approx(10.0)
    assert memory["peak_mb"] == pytest.approx(250.0)


def test_a_server_that_does_not_tell_its_memory_has_none():
    assert "memory" not in figures(sample())


def test_how_late_the_generator_was_is_told():
    late = figures(*(sample(late_s=number / 100) for number in range(101)))["generator"]
    assert late["late_p95_ms"] == pytest.approx(950)


def test_a_moment_of_the_timeline_has_what_was_due_in_it():
    rows = figures(sample(2.1, 0.5), sample(2.9, 0.7), sample(2.2, outcome="refused"))["timeline"]
    (row,) = rows
    assert row["at_s"] == 2
    assert row["offered_per_s"] == 3
    assert (row["ok_per_s"], row["refused_per_s"]) == (2, 1)
    assert row["photo_p50_ms"] == pytest.approx(600)
    assert row["health_p50_ms"] is None


def test_drift_is_from_the_first_phase_to_a_last_one_of_the_same_load():
    same = (Stage("first", 10, 2), Stage("more", 10, 9), Stage("last", 10, 2))
    record = Record([sample(1, 0.2), sample(11, 5.0), sample(21, 0.3)])
    assert figures_of(record, same)["drift_share"] == pytest.approx(0.5)
    assert "drift_share" not in figures_of(record, STAGES)
    assert figures_of(Record([sample(1)]), same)["drift_share"] is None
