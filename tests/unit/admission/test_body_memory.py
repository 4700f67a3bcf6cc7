from contextlib import ExitStack, closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.admission.body_memory import BodyMemoryBudget
from silhouette_seg.errors import Overloaded
from silhouette_seg.runtime.process_group import ProcessGroup


def test_body_memory_is_released_at_the_end_of_a_reservation():
    budget = BodyMemoryBudget(100)
    with budget.reservation() as reserve:
        reserve(30)
        reserve(20)
        assert budget.reserved == 50
    assert budget.reserved == 0


def test_body_memory_is_released_after_an_error():
    budget = BodyMemoryBudget(100)

    def fail_while_holding_memory() -> None:
        with budget.reservation() as reserve:
            reserve(30)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_holding_memory()
    assert budget.reserved == 0


def test_body_memory_above_the_budget_is_overloaded():
    budget = BodyMemoryBudget(100)
    with budget.reservation() as first, budget.reservation() as second:
        first(60)
        second(40)
        with pytest.raises(Overloaded) as error:
            second(1)
        assert error.value.limit == 100
        assert budget.reserved == 100


def test_single_body_may_exceed_the_memory_budget():
    budget = BodyMemoryBudget(100)
    with budget.reservation() as first:
        first(60)
        first(60)
        with budget.reservation() as second, pytest.raises(Overloaded):
            second(1)
    assert budget.reserved == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=40))
def test_body_memory_is_the_sum_of_successful_reservations(steps):
    budget = BodyMemoryBudget(100)
    held = [0] * 4
    with ExitStack() as stack:
        reserves = [stack.enter_context(budget.reservation()) for _ in held]
        for request, size in steps:
            fits = sum(held) + size <= 100 or sum(held) == held[request]
            try:
                reserves[request](size)
            except Overloaded:
                assert not fits
            else:
                assert fits
                held[request] += size
            assert budget.reserved == sum(held)
    assert budget.reserved == 0


def test_budget_applies_to_all_processes():
    with closing(ProcessGroup(2)) as group:
        first, second = (BodyMemoryBudget(100, group.member(index)) for index in range(2))
        with first.reservation() as one, second.reservation() as other:
            one(60)
            other(40)
            with pytest.raises(Overloaded):
                other(1)
            assert first.reserved == second.reserved == 100
        assert first.reserved == 0
