import pytest

from silhouette_seg.telemetry import monitor_loop_lag


async def test_loop_lag_is_the_delay_of_each_wake_up(telemetry, read):
    now, sleeps = 0.0, iter(range(2))

    async def oversleep(duration_s):
        nonlocal now
        next(sleeps)
        now += duration_s + 0.04

    with pytest.raises(RuntimeError, match="StopIteration"):
        await monitor_loop_lag(telemetry.observe_loop_lag, sleep=oversleep, clock=lambda: now)
    assert read("loop_lag_seconds_count") == 2
    assert read("loop_lag_seconds_bucket", le="0.025") == 0
    assert read("loop_lag_seconds_bucket", le="0.05") == 2
