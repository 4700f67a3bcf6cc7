import pytest

from silhouette_seg.engine.circuit_breaker import CircuitBreaker

FAIL, TRIP, SUCCEED, CLOSE, PROBE = "fail", "trip", "succeed", "close", "probe"


@pytest.mark.parametrize(
    ("events", "is_open"),
    [
        ([], False),
        ([(FAIL, 0)] * 2, False),
        ([(FAIL, 0)] * 3, True),
        ([(TRIP, 0)], True),
        ([(TRIP, 0), (SUCCEED, 1)], True),
        ([(TRIP, 0), (CLOSE, 1)], False),
        ([(FAIL, 0), (FAIL, 0), (SUCCEED, 0), (FAIL, 0), (FAIL, 0)], False),
        ([(FAIL, 0), (FAIL, 0), (SUCCEED, 0), (FAIL, 0), (FAIL, 0), (FAIL, 0)], True),
        # A late reply to an earlier call does not close the breaker.
        ([*[(FAIL, 0)] * 3, (SUCCEED, 1)], True),
        ([*[(FAIL, 0)] * 3, (CLOSE, 1)], False),
        ([*[(FAIL, 0)] * 3, (CLOSE, 1), (FAIL, 2)], False),
        ([*[(FAIL, 0)] * 3, (PROBE, 10), (FAIL, 11)], True),
    ],
)
def test_breaker_opens_after_consecutive_failures_until_a_probe(events, is_open):
    breaker = CircuitBreaker(failure_threshold=3, probe_interval_s=5)
    for event, now in events:
        {
            FAIL: lambda now=now: breaker.record_failure(now),
            TRIP: lambda now=now: breaker.trip(now),
            SUCCEED: breaker.record_success,
            CLOSE: breaker.close,
            PROBE: lambda now=now: breaker.try_probe(now),
        }[event]()
    assert breaker.is_open is is_open


def test_breaker_allows_one_probe_per_interval():
    breaker = CircuitBreaker(failure_threshold=1, probe_interval_s=5)
    breaker.record_failure(100)
    probes = [(104.9, False), (105, True), (105, False), (109.9, False), (110, True), (110, False)]
    assert [(now, breaker.try_probe(now)) for now, _ in probes] == probes


@pytest.mark.parametrize("fail", [CircuitBreaker.record_failure, CircuitBreaker.trip])
def test_failed_probe_restarts_the_interval(fail):
    breaker = CircuitBreaker(failure_threshold=1, probe_interval_s=5)
    breaker.record_failure(100)
    assert breaker.try_probe(105)
    fail(breaker, 107)
    assert not breaker.try_probe(111)
    assert breaker.try_probe(112)
