"""Tests of the benchmark's requests, tallies and timed calls."""

from training.benchmark import mixed, wire
from training.benchmark.measure import measure_cost


def test_mixed_requests_are_reproducible_and_of_every_kind():
    kinds = {call.kind for call in mixed.mixed_requests(400)}
    assert len(kinds) > 15
    assert [call.kind for call in mixed.mixed_requests(30)] == [
        call.kind for call in mixed.mixed_requests(30)
    ]
    assert {call.expected for call in mixed.mixed_requests(400)} == {200, 400, 404, 415, 422}


def test_tally_counts_unexpected_answers():
    tally = wire.RequestTally()
    call = wire.ExpectedRequest(b"", 200, "mask")
    tally.record(call, 200, 0.1)
    tally.record(call, 503, 0.2)
    assert (tally.responses, dict(tally.unexpected)) == (2, {"mask: 503": 1})


def test_timed_call_is_repeated_at_least_three_times():
    made = []
    assert measure_cost(lambda: made.append(1), calls=10, budget_s=0).calls == 3
    assert len(made) == 4
