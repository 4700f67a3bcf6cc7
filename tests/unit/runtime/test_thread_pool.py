import asyncio
import threading

import cv2
import numpy as np
import pytest
from PIL import Image

from silhouette_seg.errors import OutOfMemory
from silhouette_seg.runtime.thread_pool import CallerThread, ThreadPool, run_without_loop

PIXEL = np.zeros((1, 1, 3), np.uint8)


@pytest.fixture
def pool():
    pool = ThreadPool(2)
    yield pool
    pool.close()


async def test_pool_runs_call_in_another_thread(pool):
    assert await pool.run_in_thread(threading.get_ident) != threading.get_ident()
    assert await pool.run_in_thread(int, "ff", base=16) == 255


async def test_pool_raises_error_of_the_call(pool):
    with pytest.raises(ZeroDivisionError):
        await pool.run_in_thread(divmod, 1, 0)


@pytest.mark.parametrize(
    "allocate",
    [lambda: np.empty(2**62, np.uint8), lambda: cv2.copyMakeBorder(PIXEL, 2**30, 2**30, 0, 0, 0)],
    ids=["numpy", "cv2"],
)
async def test_failed_allocation_in_pool_raises_out_of_memory(pool, allocate):
    with pytest.raises(OutOfMemory):
        await pool.run_in_thread(allocate)


async def test_pool_has_all_threads_before_first_call():
    before = threading.active_count()
    pool = ThreadPool(3)
    assert threading.active_count() == before + 3
    pool.close()


async def test_pool_runs_no_more_calls_than_threads(pool):
    release, running = threading.Event(), threading.Semaphore(0)

    def occupy():
        running.release()
        release.wait(10)

    calls = [asyncio.create_task(pool.run_in_thread(occupy)) for _ in range(3)]
    for _ in range(2):
        assert await asyncio.to_thread(running.acquire, timeout=10)
    assert not running.acquire(blocking=False)
    release.set()
    await asyncio.gather(*calls)


async def test_call_cancelled_before_start_never_runs():
    pool = ThreadPool(1)
    release, results = threading.Event(), []
    first = asyncio.create_task(pool.run_in_thread(release.wait, 10))
    second = asyncio.create_task(pool.run_in_thread(results.append, 1))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    release.set()
    await first
    pool.close()
    assert results == []


async def test_cancelling_running_call_waits_for_its_end(pool):
    started, release = threading.Event(), threading.Event()

    def work():
        started.set()
        assert release.wait(10)

    call = asyncio.create_task(pool.run_in_thread(work))
    assert await asyncio.to_thread(started.wait, 10)
    for _ in range(2):
        call.cancel()
        await asyncio.wait([call], timeout=0.01)
        assert not call.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await call


def test_pool_limits_opencv_to_one_thread(pool):
    assert cv2.getNumThreads() == 1
    assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_ERROR
    assert Image.MAX_IMAGE_PIXELS is None


def test_caller_thread_runs_call_without_event_loop():
    assert run_without_loop(CallerThread().run_in_thread(threading.get_ident)) == (
        threading.get_ident()
    )


async def test_coroutine_without_suspension_runs_inside_a_running_loop():
    assert run_without_loop(CallerThread().run_in_thread(int, "ff", base=16)) == 255


def test_error_of_a_coroutine_is_raised_without_event_loop():
    with pytest.raises(ZeroDivisionError):
        run_without_loop(CallerThread().run_in_thread(divmod, 1, 0))


def test_suspended_coroutine_is_closed_and_raises_runtime_error():
    ended = []

    async def suspend() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append(True)

    with pytest.raises(RuntimeError, match="suspended"):
        run_without_loop(suspend())
    assert ended == [True]
