import asyncio
from contextlib import closing

import pytest

from silhouette_seg.admission.request_limit import RequestLimiter
from silhouette_seg.errors import Draining, Overloaded
from silhouette_seg.runtime.process_group import ProcessGroup


def test_request_limiter_counts_requests_in_progress():
    limiter = RequestLimiter(max_requests=3)
    with limiter.admit(), limiter.admit():
        assert limiter.count == 2
    assert limiter.count == 0


def test_request_over_limit_is_rejected_with_numbers():
    limiter = RequestLimiter(max_requests=1)
    with limiter.admit(), pytest.raises(Overloaded) as caught, limiter.admit():
        pytest.fail("admitted")
    assert (caught.value.limit, caught.value.actual) == (1, 2)
    assert caught.value.retry_after_s == 1


def test_failed_request_releases_its_place():
    limiter = RequestLimiter(max_requests=3)
    with pytest.raises(KeyError), limiter.admit():
        raise KeyError
    assert limiter.count == 0


async def test_cancelled_request_releases_its_place():
    limiter = RequestLimiter(max_requests=3)

    async def request():
        with limiter.admit():
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    assert limiter.count == 1
    task.cancel()
    await limiter.wait_idle()
    assert limiter.count == 0


async def test_draining_limiter_rejects_new_requests_and_waits_for_running_ones():
    limiter = RequestLimiter(max_requests=3)
    with limiter.admit():
        limiter.start_draining()
        with pytest.raises(Draining), limiter.admit():
            pytest.fail("admitted")
        waiting = asyncio.create_task(limiter.wait_idle())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


async def test_limiter_without_requests_is_idle():
    await RequestLimiter(max_requests=3).wait_idle()


def test_limit_applies_to_all_processes_and_idle_to_each():
    with closing(ProcessGroup(2)) as group:
        first, second = (
            RequestLimiter(max_requests=2, group=group.member(index)) for index in range(2)
        )
        with first.admit(), second.admit():
            assert (first.count, first.own_count) == (2, 1)
            with pytest.raises(Overloaded) as caught:
                second.check()
            assert (caught.value.limit, caught.value.actual) == (2, 3)
        second.check()
