"""When requests are due."""

from itertools import pairwise, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.arrival import Stage, gaps, moments
from loadtests.shapes import PEAK, SHAPES, length_s, stage_at, stages_of, users_at

stages = st.lists(
    st.builds(Stage, st.just("stage"), st.floats(0.1, 20), st.floats(0, 50)), max_size=5
)


def test_constant_arrivals_are_one_over_the_rate_apart():
    due = list(moments([Stage("steady", 2, 4)], repeat(1.0)))
    assert due == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75])


def test_what_is_left_of_a_distance_goes_on_at_the_next_rate():
    # Three quarters of a request are due in the first second, the last quarter takes 1/8 s.
    due = list(moments([Stage("slow", 1, 0.75), Stage("fast", 1, 2)], repeat(1.0)))
    assert due == pytest.approx([1.125, 1.625])


def test_nothing_is_due_while_the_rate_is_0():
    due = list(moments([Stage("on", 1, 2), Stage("off", 3, 0), Stage("on", 1, 2)], repeat(1.0)))
    assert due == pytest.approx([0.5, 4.0, 4.5])


@given(stages)
def test_moments_are_in_order_and_as_many_as_the_load_has(stages):
    due = list(moments(stages, repeat(1.0)))
    load = sum(stage.seconds * stage.level for stage in stages)
    assert abs(len(due) - load) <= 1 + 1e-6
    assert all(earlier <= later for earlier, later in pairwise(due))
    assert all(0 < moment < length_s(stages) for moment in due)


def test_poisson_arrivals_have_the_rate_and_the_spread_of_their_kind():
    due = list(moments([Stage("steady", 2000, 5)], gaps("poisson", seed=3)))
    between = [later - earlier for earlier, later in pairwise(due)]
    mean = sum(between) / len(between)
    deviation = (sum((gap - mean) ** 2 for gap in between) / len(between)) ** 0.5
    assert mean == pytest.approx(1 / 5, rel=0.05)
    assert deviation == pytest.approx(mean, rel=0.05)


def test_the_seed_decides_poisson_arrivals():
    def first(seed):
        return [gap for gap, _ in zip(gaps("poisson", seed), range(5), strict=False)]

    assert first(1) == first(1)
    assert first(1) != first(2)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_as_long_and_as_high_as_asked(shape):
    stages = stages_of(shape, peak=30, seconds=60)
    assert length_s(stages) == pytest.approx(60)
    assert max(stage.level for stage in stages) == pytest.approx(30)
    assert len({stage.name for stage in stages}) == len(stages)


def test_an_overload_is_three_times_the_capacity_between_halves_of_it():
    levels = [stage.level for stage in stages_of("overload", peak=PEAK["overload"], seconds=60)]
    assert levels == [0.5, 3.0, 0.5]


def test_steps_rise():
    levels = [stage.level for stage in stages_of("step", peak=6, seconds=60)]
    assert levels == pytest.approx([1, 2, 3, 4, 5, 6])


def test_a_soak_has_four_quarters_alike():
    assert [stage.level for stage in stages_of("soak", peak=6, seconds=60)] == [6, 6, 6, 6]


def test_users_follow_the_stages_to_their_end():
    users = users_at([Stage("few", 2, 1), Stage("many", 3, 7.6)])
    assert [users(at_s) for at_s in (-1, 0, 1.9, 2, 4.9, 5, 6)] == [1, 1, 1, 8, 8, None, None]


def test_the_last_stage_holds_from_its_end_on():
    stages = [Stage("first", 1, 1), Stage("last", 1, 2)]
    assert [stage_at(stages, at_s).name for at_s in (0, 1, 9)] == ["first", "last", "last"]
