import asyncio
import threading

import cv2
import pytest

from silhouette_seg.runtime.thread_pool import Workers


@pytest.fixture
def workers():
    pool = Workers(2)
    yield pool
    pool.close()


async def test_runs_elsewhere_and_returns(workers):
    assert await workers.run(threading.get_ident) != threading.get_ident()
    assert await workers.run(int, "ff", base=16) == 255


async def test_an_error_is_the_callers(workers):
    with pytest.raises(ZeroDivisionError):
        await workers.run(divmod, 1, 0)


async def test_no_more_at_once_than_threads(workers):
    release, inside = threading.Event(), threading.Semaphore(0)

    def occupy():
        inside.release()
        release.wait(10)

    calls = [asyncio.create_task(workers.run(occupy)) for _ in range(3)]
    for _ in range(2):
        assert await asyncio.to_thread(inside.acquire, timeout=10)
    assert not inside.acquire(blocking=False)
    release.set()
    await asyncio.gather(*calls)


async def test_a_call_cancelled_before_it_began_never_runs():
    pool = Workers(1)
    release, ran = threading.Event(), []
    first = asyncio.create_task(pool.run(release.wait, 10))
    second = asyncio.create_task(pool.run(ran.append, 1))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    release.set()
    await first
    pool.close()
    assert ran == []


async def test_who_cancels_waits_for_a_call_that_has_begun(workers):
    began, release = threading.Event(), threading.Event()

    def work():
        began.set()
        assert release.wait(10)

    call = asyncio.create_task(workers.run(work))
    assert await asyncio.to_thread(began.wait, 10)
    for _ in range(2):
        call.cancel()
        await asyncio.wait([call], timeout=0.01)
        assert not call.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await call


def test_one_call_is_one_thread(workers):
    assert cv2.getNumThreads() == 1
