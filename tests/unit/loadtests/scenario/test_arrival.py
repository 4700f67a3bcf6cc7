"""Tests of arrival times, load shapes and user counts."""

from itertools import pairwise, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.scenario.arrival import Phase, arrival_times, interarrival_times
from loadtests.scenario.shapes import (
    PEAK_SHARE,
    SHAPES,
    closed_loop_users,
    make_phases,
    phase_at,
    total_s,
)

phases = st.lists(
    st.builds(Phase, st.just("phase"), st.floats(0.1, 20), st.floats(0, 50)), max_size=5
)


def test_constant_arrivals_are_one_over_the_rate_apart():
    due = list(arrival_times([Phase("steady", 2, 4)], repeat(1.0)))
    assert due == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75])


def test_rest_of_interval_continues_at_next_rate():
    # Three quarters of a request are due in the first second, the last quarter takes 1/8 s.
    due = list(arrival_times([Phase("slow", 1, 0.75), Phase("fast", 1, 2)], repeat(1.0)))
    assert due == pytest.approx([1.125, 1.625])


def test_phase_with_rate_zero_has_no_arrivals():
    phases = [Phase("on", 1, 2), Phase("off", 3, 0), Phase("on", 1, 2)]
    due = list(arrival_times(phases, repeat(1.0)))
    assert due == pytest.approx([0.5, 4.0, 4.5])


@given(phases)
def test_arrival_times_are_ordered_and_match_total_load(phases):
    due = list(arrival_times(phases, repeat(1.0)))
    load = sum(phase.seconds * phase.level for phase in phases)
    assert abs(len(due) - load) <= 1 + 1e-6
    assert all(earlier <= later for earlier, later in pairwise(due))
    assert all(0 < time < total_s(phases) for time in due)


def test_poisson_arrivals_have_rate_and_deviation_of_poisson_process():
    due = list(arrival_times([Phase("steady", 2000, 5)], interarrival_times("poisson", seed=3)))
    between = [later - earlier for earlier, later in pairwise(due)]
    mean = sum(between) / len(between)
    deviation = (sum((gap - mean) ** 2 for gap in between) / len(between)) ** 0.5
    assert mean == pytest.approx(1 / 5, rel=0.05)
    assert deviation == pytest.approx(mean, rel=0.05)


def test_poisson_arrivals_depend_on_seed_only():
    def first(seed):
        return [gap for gap, _ in zip(interarrival_times("poisson", seed), range(5), strict=False)]

    assert first(1) == first(1)
    assert first(1) != first(2)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_requested_duration_and_peak(shape):
    phases = make_phases(shape, peak=30, seconds=60)
    assert total_s(phases) == pytest.approx(60)
    assert max(phase.level for phase in phases) == pytest.approx(30)
    assert len({phase.name for phase in phases}) == len(phases)


def test_overload_shape_has_triple_capacity_between_halves():
    phases = make_phases("overload", peak=PEAK_SHARE["overload"], seconds=60)
    levels = [phase.level for phase in phases]
    assert levels == [0.5, 3.0, 0.5]


def test_levels_of_step_shape_rise():
    levels = [phase.level for phase in make_phases("step", peak=6, seconds=60)]
    assert levels == pytest.approx([1, 2, 3, 4, 5, 6])


def test_soak_shape_has_four_equal_quarters():
    assert [phase.level for phase in make_phases("soak", peak=6, seconds=60)] == [6, 6, 6, 6]


def test_closed_loop_users_follow_phases_until_end():
    users = closed_loop_users([Phase("few", 2, 1), Phase("many", 3, 7.6)])
    assert [users(at_s) for at_s in (-1, 0, 1.9, 2, 4.9, 5, 6)] == [1, 1, 1, 8, 8, None, None]


def test_last_phase_applies_after_its_end():
    phases = [Phase("first", 1, 1), Phase("last", 1, 2)]
    assert [phase_at(phases, at_s).name for at_s in (0, 1, 9)] == ["first", "last", "last"]
