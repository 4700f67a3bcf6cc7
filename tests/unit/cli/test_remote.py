"""Retries of photos that are sent to a busy service."""

import pytest

from silhouette_seg.cli.remote import MAX_BUSY_S, PatientRetries
from silhouette_seg.client import ClientError, Refused, Retries, Unreachable


def busy(after_s: float | None) -> Refused:
    return Refused("overloaded", "No room.", retryable=True, retry_after_s=after_s)


@pytest.mark.parametrize(("after_s", "wait_s"), [(1, 1), (30, 30), (None, Retries().first_s)])
def test_busy_service_gets_many_tries(after_s, wait_s):
    assert PatientRetries().wait_s(100, MAX_BUSY_S - 30, busy(after_s)) == wait_s


def test_busy_service_is_given_up_after_the_limit():
    assert PatientRetries().wait_s(100, MAX_BUSY_S, busy(1)) is None


@pytest.mark.parametrize("tried", [1, 3, 4])
@pytest.mark.parametrize("error", [Unreachable("gone"), Refused("bad_parameter", "no")])
def test_other_errors_get_the_usual_tries(tried: int, error: ClientError):
    assert PatientRetries().wait_s(tried, 1.0, error) == Retries().wait_s(tried, 1.0, error)
