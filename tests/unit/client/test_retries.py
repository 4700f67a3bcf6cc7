"""The policy of retries: the wait before each try, and the last try."""

import pytest
from tenacity import RetryCallState, Retrying

from silhouette_seg.cli.remote import PATIENT_RETRIES
from silhouette_seg.client import ClientError, Refused, Retries, StreamClosed, Unreachable

START_S = 100.0


def next_wait_s(retries: Retries, tried: int, spent_s: float, error: ClientError) -> float | None:
    """Returns the wait before the next try, or None if there is none."""
    state = RetryCallState(Retrying(), None, (), {})
    state.start_time, state.attempt_number = START_S, tried
    state.set_exception((type(error), error, None))
    state.outcome_timestamp = START_S + spent_s
    state.upcoming_sleep = retries.wait_s(state)
    return None if retries.is_last(state) else state.upcoming_sleep


def busy(after_s: float | None) -> Refused:
    return Refused("overloaded", "No room.", retryable=True, retry_after_s=after_s)


@pytest.mark.parametrize(
    ("tried", "spent_s", "after_s", "wait_s"),
    [
        (1, 0.0, None, 0.25),
        (3, 1.0, None, 1.0),
        (7, 7.0, None, 2.0),
        (1, 0.0, 7.0, 7.0),
        (1, 19.5, None, 0.25),
        (9, 0.0, None, None),
        (1, 19.9, None, None),
        (1, 0.0, 21.0, None),
    ],
)
def test_retries_compute_the_next_wait(tried, spent_s, after_s, wait_s):
    assert next_wait_s(Retries(), tried, spent_s, busy(after_s)) == wait_s


@pytest.mark.parametrize(
    "error",
    [ClientError("no"), Refused("bad", ""), StreamClosed(1007, ""), ValueError("no")],
    ids=["base", "refused", "closed", "foreign"],
)
def test_final_error_ends_the_retries(error):
    tries = []

    def fail() -> None:
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        Retries(sleep=lambda _: None).run(fail)
    assert len(tries) == 1


@pytest.mark.parametrize(("after_s", "wait_s"), [(1, 1), (30, 30), (None, Retries().longest_s)])
def test_busy_service_gets_many_tries(after_s, wait_s):
    assert next_wait_s(PATIENT_RETRIES, 100, 560, busy(after_s)) == wait_s


def test_busy_service_is_given_up_after_the_limit():
    assert next_wait_s(PATIENT_RETRIES, 100, 600, busy(1)) is None


@pytest.mark.parametrize("tried", [1, 3, 8, 9])
def test_unreachable_service_gets_the_usual_tries(tried):
    error = Unreachable("gone")
    patient = next_wait_s(PATIENT_RETRIES, tried, 1.0, error)
    assert patient == next_wait_s(Retries(), tried, 1.0, error)
