import asyncio
from contextlib import ExitStack, closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.admission.stream_limit import StreamLimiter
from silhouette_seg.errors import Draining, Overloaded, TooManyStreams
from silhouette_seg.runtime.process_group import ProcessGroup


def error_of_acquire(limiter: StreamLimiter, caller: str) -> type[Exception] | None:
    """Acquires and releases one place. Returns the class of the error, or None."""
    try:
        with limiter.acquire(caller):
            return None
    except (Draining, Overloaded, TooManyStreams) as error:
        return type(error)


def test_stream_limiter_counts_open_streams():
    limiter = StreamLimiter(max_streams=2, max_per_caller=2)
    with limiter.acquire("a"), limiter.acquire("a"):
        assert limiter.count == 2
    assert limiter.count == 0


def test_caller_limit_applies_to_each_caller():
    limiter = StreamLimiter(max_streams=3, max_per_caller=1)
    with limiter.acquire("a"):
        assert error_of_acquire(limiter, "a") is TooManyStreams
        assert error_of_acquire(limiter, "b") is None
    assert error_of_acquire(limiter, "a") is None


def test_total_limit_applies_to_all_callers():
    limiter = StreamLimiter(max_streams=2, max_per_caller=2)
    with limiter.acquire("a"), limiter.acquire("b"):
        assert error_of_acquire(limiter, "c") is Overloaded
    assert error_of_acquire(limiter, "c") is None


@pytest.mark.parametrize(("max_streams", "error"), [(2, TooManyStreams), (1, Overloaded)])
def test_rejection_reports_limit_and_total_limit_comes_first(max_streams, error):
    limiter = StreamLimiter(max_streams=max_streams, max_per_caller=1)
    with limiter.acquire("a"), pytest.raises(error) as caught, limiter.acquire("a"):
        pass
    assert (caught.value.limit, caught.value.actual, caught.value.retry_after_s) == (1, 2, 1)


def test_failed_stream_releases_its_place():
    limiter = StreamLimiter(max_streams=1, max_per_caller=1)
    with pytest.raises(KeyError), limiter.acquire("a"):
        raise KeyError
    assert limiter.count == 0


def test_stream_limiter_forgets_callers_without_stream():
    limiter = StreamLimiter(max_streams=1, max_per_caller=1)
    for number in range(100):
        with limiter.acquire(f"caller {number}"):
            pass
    assert not limiter._places["caller"].any()


async def test_draining_limiter_signals_open_streams_and_rejects_new_ones():
    limiter = StreamLimiter(max_streams=2, max_per_caller=2)
    with limiter.acquire("a"):
        limiter.start_draining()
        assert limiter.draining.is_set()
        assert error_of_acquire(limiter, "b") is Draining


async def test_wait_idle_returns_after_last_stream():
    limiter = StreamLimiter(max_streams=2, max_per_caller=2)
    await limiter.wait_idle()
    with ExitStack() as streams:
        streams.enter_context(limiter.acquire("a"))
        with limiter.acquire("b"):
            pass
        waiting = asyncio.create_task(limiter.wait_idle())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40),
    max_streams=st.integers(1, 5),
    max_per_caller=st.integers(1, 3),
)
def test_stream_limiter_stays_within_both_limits(steps, max_streams, max_per_caller):
    limiter = StreamLimiter(max_streams=max_streams, max_per_caller=max_per_caller)
    streams: list[tuple[str, ExitStack]] = []
    for caller, acquires in steps:
        own = [stream for stream in streams if stream[0] == caller]
        if acquires:
            full = len(streams) >= max_streams or len(own) >= max_per_caller
            place = ExitStack()
            try:
                place.enter_context(limiter.acquire(caller))
            except (Overloaded, TooManyStreams):
                assert full
            else:
                assert not full
                streams.append((caller, place))
        elif own:
            own[0][1].close()
            streams.remove(own[0])
        assert limiter.count == len(streams)


def test_streams_share_the_time_of_the_workers():
    """Three quarters of two workers are 1.5 s a second, and a stream needs five frames."""
    limiter = StreamLimiter(max_streams=16, max_per_caller=16, workers=2)
    with ExitStack() as open_streams:
        for _ in range(4):
            open_streams.enter_context(limiter.acquire("a")).set_frame_seconds(0.07)
        place = open_streams.enter_context(limiter.acquire("a"))
        with pytest.raises(Overloaded) as caught:
            place.set_frame_seconds(0.07)
        assert (caught.value.limit, caught.value.actual) == (1.5, 1.75)
        assert caught.value.retry_after_s == 1
        place.set_frame_seconds(0.005)  # a cheaper model
    with limiter.acquire("a") as place:
        place.set_frame_seconds(0.2)


def test_single_stream_may_have_any_cost():
    limiter = StreamLimiter(max_streams=2, max_per_caller=2, workers=1)
    with limiter.acquire("a") as first, limiter.acquire("a") as second:
        first.set_frame_seconds(3.0)
        first.set_frame_seconds(4.0)
        with pytest.raises(Overloaded):
            second.set_frame_seconds(0.001)


def test_limits_and_time_of_the_workers_apply_to_all_processes():
    with closing(ProcessGroup(2)) as group:
        first, second = (
            StreamLimiter(max_streams=3, max_per_caller=2, workers=2, group=group.member(index))
            for index in range(2)
        )
        with first.acquire("a") as place, second.acquire("a") as other:
            assert (first.count, first.own_count) == (2, 1)
            assert error_of_acquire(first, "a") is TooManyStreams
            place.set_frame_seconds(0.2)
            with pytest.raises(Overloaded) as caught:
                other.set_frame_seconds(0.2)
            assert (caught.value.limit, caught.value.actual) == (1.5, 2.0)
            with second.acquire("b"):
                assert error_of_acquire(first, "c") is Overloaded
            group.forget(0)  # the first process has died
            assert second.count == 1
            other.set_frame_seconds(0.2)
