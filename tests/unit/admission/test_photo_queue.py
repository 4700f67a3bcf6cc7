import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.admission import photo_queue
from silhouette_seg.admission.photo_queue import (
    FIXED_COST_PIXELS,
    INITIAL_ESTIMATE_S,
    PhotoQueue,
    ServiceTimeEstimator,
    Workload,
)
from silhouette_seg.errors import Overloaded

LONG_S = 1000.0


def make_queue(**limits):
    return PhotoQueue(
        **{"max_running": 2, "max_pixels": 100, "max_queued": 8, "max_wait_s": LONG_S, **limits}
    )


@dataclass
class Photo:
    """A photo that holds its slot until `end` is set."""

    queue: PhotoQueue
    work: Workload
    enforce_max_wait: bool = True
    running: asyncio.Event = field(default_factory=asyncio.Event)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> float:
        """Returns the seconds of its wait."""
        async with self.queue.slot(self.work, enforce_max_wait=self.enforce_max_wait) as wait_s:
            self.running.set()
            await self.end.wait()
            return wait_s


@asynccontextmanager
async def submitted(queue, *pixels, kind="mask", enforce_max_wait=True):
    """Submits one photo for each number of pixels. Yields photos and tasks; ends all on exit."""
    photos = [Photo(queue, Workload(kind, count), enforce_max_wait) for count in pixels]
    tasks = [asyncio.create_task(photo.run()) for photo in photos]
    await settle()
    try:
        yield photos, tasks
    finally:
        for photo in photos:
            photo.end.set()
        await asyncio.gather(*tasks, return_exceptions=True)


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch):
    """A clock in seconds that only the test advances."""
    now = [0.0]
    monkeypatch.setattr(photo_queue, "perf_counter", lambda: now[0])
    return now


async def test_photo_with_free_slot_starts_at_once():
    queue = make_queue()
    async with submitted(queue, 10, 20) as (_, tasks):
        assert (queue.running, queue.queued, queue.running_pixels) == (2, 0, 30)
        assert not any(task.done() for task in tasks)
    assert (queue.running, queue.queued, queue.running_pixels) == (0, 0, 0)


async def test_queued_photos_start_in_order_of_arrival(clock):
    queue = make_queue(max_running=1)
    async with submitted(queue, 1, 2, 3) as (photos, tasks):
        assert (queue.running, queue.queued) == (1, 2)
        clock[0] = 5.0
        photos[0].end.set()
        await photos[1].running.wait()
        assert not photos[2].running.is_set()
        clock[0] = 7.0
        photos[1].end.set()
        await photos[2].running.wait()
        photos[2].end.set()
        assert [await task for task in tasks] == [0.0, 5.0, 7.0]


async def test_photo_over_pixel_limit_blocks_those_behind_it():
    queue = make_queue(max_running=4)
    async with submitted(queue, 60, 50, 10) as (photos, _):
        assert [photo.running.is_set() for photo in photos] == [True, False, False]
        photos[0].end.set()
        await photos[2].running.wait()
        assert queue.running_pixels == 60


async def test_photo_larger_than_pixel_limit_runs_alone():
    queue = make_queue(max_running=4)
    async with submitted(queue, 1000, 1) as (photos, _):
        assert [photo.running.is_set() for photo in photos] == [True, False]
        photos[0].end.set()
        await photos[1].running.wait()


async def test_full_queue_rejects_photo_with_numbers():
    queue = make_queue(max_running=1, max_queued=2)
    async with submitted(queue, 1, 1, 1, 1) as (_, tasks):
        with pytest.raises(Overloaded) as caught:
            await tasks[3]
        assert (caught.value.limit, caught.value.actual) == (2, 3)
        assert caught.value.retry_after_s >= 1
        assert queue.queued == 2


async def test_photo_with_long_estimated_wait_is_rejected_with_retry_after(clock):
    queue = make_queue(max_running=2, max_wait_s=1.3)
    for _ in range(100):
        async with queue.slot(Workload("mask", 0)):
            clock[0] += 0.8
    async with submitted(queue, 0, 0, 0, 0) as (_, tasks):
        # Four photos of 0.8 s share two slots.
        assert queue.estimated_wait_s == pytest.approx(1.6)
        with pytest.raises(Overloaded) as caught:
            queue.check()
        assert (caught.value.limit, caught.value.actual) == (1.3, pytest.approx(1.6))
        assert caught.value.retry_after_s == 2
        clock[0] += 0.7  # the running photos have this much of their time behind them
        assert queue.estimated_wait_s == pytest.approx(0.9)
        queue.check()
        assert not any(task.done() for task in tasks)


async def test_estimated_wait_with_free_slot_is_zero(clock):
    queue = make_queue(max_running=2)
    async with submitted(queue, 90):
        assert queue.estimated_wait_s == 0.0


async def test_estimated_wait_behind_overdue_photo_is_zero(clock):
    queue = make_queue(max_running=1)
    async with submitted(queue, 1):
        clock[0] += 1000
        assert queue.estimated_wait_s == 0.0


async def test_photo_admitted_on_wrong_estimate_is_rejected_after_overrun():
    queue = make_queue(max_running=1, max_wait_s=0.02)
    queue._service_times.update(Workload("mask", 1), 1e-9)
    async with submitted(queue, 1, 1) as (_, tasks):
        with pytest.raises(Overloaded) as caught:
            await tasks[1]
        assert caught.value.limit == 0.04
        assert (queue.running, queue.queued) == (1, 0)


async def test_photo_without_max_wait_waits_behind_full_queue():
    queue = make_queue(max_running=1, max_queued=1, max_wait_s=0.001)
    async with (
        submitted(queue, 1) as (first, _),
        submitted(queue, 2, 3, enforce_max_wait=False) as (photos, _),
    ):
        with pytest.raises(Overloaded):
            queue.check()
        first[0].end.set()
        await photos[0].running.wait()
        photos[0].end.set()
        await photos[1].running.wait()


async def test_cancelled_photo_leaves_the_queue():
    queue = make_queue(max_running=1)
    async with submitted(queue, 1, 2, 3) as (photos, tasks):
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        assert queue.queued == 1
        photos[0].end.set()
        await photos[2].running.wait()


async def test_photo_cancelled_when_started_passes_its_slot_on():
    queue = make_queue(max_running=1)
    async with submitted(queue, 1, 2, 3) as (photos, tasks):
        photos[0].end.set()
        await asyncio.sleep(0)
        assert queue.running_pixels == 2
        assert not photos[1].running.is_set()
        tasks[1].cancel()  # its slot is granted, but its task has not resumed yet
        await photos[2].running.wait()
        assert queue.running == 1


async def test_failed_photo_does_not_update_the_estimate(clock):
    queue = make_queue(max_running=1)

    async def fail():
        async with queue.slot(Workload("mask", 0)):
            clock[0] += 100
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with submitted(queue, 0):
        assert queue.estimated_wait_s == pytest.approx(INITIAL_ESTIMATE_S)


async def test_photo_that_gives_up_in_its_slot_raises_the_estimate(clock):
    """A model's queue may time out: the photos behind would have waited as long."""
    queue = make_queue(max_running=1)

    async def give_up():
        async with queue.slot(Workload("mask", 0)):
            clock[0] += 2.0
            raise Overloaded

    with pytest.raises(Overloaded):
        await give_up()
    async with submitted(queue, 0):
        assert queue.estimated_wait_s == pytest.approx(2.0)


def test_estimator_separates_kinds_and_scales_with_pixels():
    estimator = ServiceTimeEstimator()
    estimator.update(Workload("mask", 0), 0.02)
    estimator.update(Workload("cutout", FIXED_COST_PIXELS), 0.2)
    assert estimator.predict(Workload("mask", FIXED_COST_PIXELS)) == pytest.approx(0.04)
    assert estimator.predict(Workload("cutout", 3 * FIXED_COST_PIXELS)) == pytest.approx(0.4)
    assert estimator.predict(Workload("composite", 0)) == pytest.approx(INITIAL_ESTIMATE_S)


def test_estimator_converges_to_recent_service_times():
    estimator = ServiceTimeEstimator()
    estimator.update(Workload("mask", 0), 10.0)
    for _ in range(200):
        estimator.update(Workload("mask", 0), 0.02)
    assert estimator.predict(Workload("mask", 0)) == pytest.approx(0.02, rel=1e-3)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("arrive"), st.integers(0, 120)),
            st.tuples(st.sampled_from(["end", "cancel"]), st.integers(0, 11)),
        ),
        max_size=30,
    )
)
def test_queue_stays_within_limits_and_starves_no_photo(events):
    asyncio.run(_play(events))


async def _play(events):
    queue = make_queue(max_running=3, max_queued=4)
    photos: list[Photo] = []
    tasks: list[asyncio.Task[float]] = []
    for event, value in events:
        if event == "arrive":
            photos.append(Photo(queue, Workload("mask", value)))
            tasks.append(asyncio.create_task(photos[-1].run()))
        elif photos and event == "end":
            photos[value % len(photos)].end.set()
        elif photos:
            tasks[value % len(tasks)].cancel()
        await settle()
        assert queue.running <= 3
        assert queue.running_pixels <= 100 or queue.running == 1
        assert queue.queued <= 4
        # No photo waits while every slot is free.
        assert queue.running or not queue.queued
    for photo in photos:
        photo.end.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(
        isinstance(result, (float, Overloaded, asyncio.CancelledError)) for result in results
    )
    assert (queue.running, queue.queued, queue.running_pixels) == (0, 0, 0)
