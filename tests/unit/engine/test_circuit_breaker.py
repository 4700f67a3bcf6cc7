import pytest

from silhouette_seg.engine.circuit_breaker import CircuitBreaker

FAIL, TRIP, PASS, PROBE_PASSED, PROBE = "fail", "trip", "pass", "probe passed", "may probe"


@pytest.mark.parametrize(
    ("events", "open_at_the_end"),
    [
        ([], False),
        ([(FAIL, 0)] * 2, False),
        ([(FAIL, 0)] * 3, True),
        ([(TRIP, 0)], True),
        ([(TRIP, 0), (PASS, 1)], True),
        ([(TRIP, 0), (PROBE_PASSED, 1)], False),
        ([(FAIL, 0), (FAIL, 0), (PASS, 0), (FAIL, 0), (FAIL, 0)], False),
        ([(FAIL, 0), (FAIL, 0), (PASS, 0), (FAIL, 0), (FAIL, 0), (FAIL, 0)], True),
        # A late answer to an earlier question closes nothing.
        ([*[(FAIL, 0)] * 3, (PASS, 1)], True),
        ([*[(FAIL, 0)] * 3, (PROBE_PASSED, 1)], False),
        ([*[(FAIL, 0)] * 3, (PROBE_PASSED, 1), (FAIL, 2)], False),
        ([*[(FAIL, 0)] * 3, (PROBE, 10), (FAIL, 11)], True),
    ],
)
def test_opens_after_failures_in_a_row_and_closes_by_a_probe(events, open_at_the_end):
    breaker = CircuitBreaker(failure_threshold=3, probe_interval_s=5)
    for event, now in events:
        {
            FAIL: lambda now=now: breaker.record_failure(now),
            TRIP: lambda now=now: breaker.trip(now),
            PASS: breaker.record_success,
            PROBE_PASSED: breaker.close,
            PROBE: lambda now=now: breaker.try_probe(now),
        }[event]()
    assert breaker.is_open is open_at_the_end


def test_one_probe_each_time_the_wait_is_over():
    breaker = CircuitBreaker(failure_threshold=1, probe_interval_s=5)
    breaker.record_failure(100)
    asked = [(104.9, False), (105, True), (105, False), (109.9, False), (110, True), (110, False)]
    assert [(now, breaker.try_probe(now)) for now, _ in asked] == asked


@pytest.mark.parametrize("fail", [CircuitBreaker.record_failure, CircuitBreaker.trip])
def test_a_probe_that_fails_begins_the_wait_anew(fail):
    breaker = CircuitBreaker(failure_threshold=1, probe_interval_s=5)
    breaker.record_failure(100)
    assert breaker.try_probe(105)
    fail(breaker, 107)
    assert not breaker.try_probe(111)
    assert breaker.try_probe(112)
