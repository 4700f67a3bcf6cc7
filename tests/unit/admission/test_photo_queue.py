import asyncio
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle

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
from silhouette_seg.runtime.process_group import ProcessGroup

LONG_S = 1000.0


class ProcessQueues:
    """The queue of a server with several processes. Each photo arrives at the next process."""

    def __init__(self, processes: int, stack: ExitStack, **limits) -> None:
        group = ProcessGroup(processes)
        stack.callback(group.close)
        defaults = {"max_running": 2, "max_pixels": 100, "max_queued": 8, "max_wait_s": LONG_S}
        members = [group.member(index) for index in range(processes)]
        self.of_process = [PhotoQueue(**{**defaults, **limits}, group=own) for own in members]
        for member in members:
            stack.enter_context(member.listening())
        self._turns = cycle(self.of_process)

    def __getattr__(self, name: str):
        """Reads the state of the whole queue in the process that has the first photo."""
        return getattr(self.of_process[0], name)

    def slot(self, work: Workload, **options):
        return next(self._turns).slot(work, **options)


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def processes(request) -> int:
    return request.param


@pytest.fixture
async def make_queue(processes):
    with ExitStack() as stack:
        yield partial(ProcessQueues, processes, stack)


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


async def test_photo_with_free_slot_starts_at_once(make_queue):
    queue = make_queue()
    async with submitted(queue, 10, 20) as (_, tasks):
        assert (queue.running, queue.queued, queue.running_pixels) == (2, 0, 30)
        assert not any(task.done() for task in tasks)
    assert (queue.running, queue.queued, queue.running_pixels) == (0, 0, 0)


async def test_queued_photos_start_in_order_of_arrival(make_queue, clock):
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


async def test_photo_over_pixel_limit_blocks_those_behind_it(make_queue):
    queue = make_queue(max_running=4)
    async with submitted(queue, 60, 50, 10) as (photos, _):
        assert [photo.running.is_set() for photo in photos] == [True, False, False]
        photos[0].end.set()
        await photos[2].running.wait()
        assert queue.running_pixels == 60


async def test_photo_larger_than_pixel_limit_runs_alone(make_queue):
    queue = make_queue(max_running=4)
    async with submitted(queue, 1000, 1) as (photos, _):
        assert [photo.running.is_set() for photo in photos] == [True, False]
        photos[0].end.set()
        await photos[1].running.wait()


async def test_full_queue_rejects_photo_with_numbers(make_queue):
    queue = make_queue(max_running=1, max_queued=2)
    async with submitted(queue, 1, 1, 1, 1) as (_, tasks):
        with pytest.raises(Overloaded) as caught:
            await tasks[3]
        assert (caught.value.limit, caught.value.actual) == (2, 3)
        assert caught.value.retry_after_s >= 1
        assert queue.queued == 2


async def test_photo_with_long_estimated_wait_is_rejected_with_retry_after(make_queue, clock):
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


async def test_estimated_wait_with_free_slot_is_zero(make_queue, clock):
    queue = make_queue(max_running=2)
    async with submitted(queue, 90):
        assert queue.estimated_wait_s == 0.0


async def test_estimated_wait_behind_overdue_photo_is_zero(make_queue, clock):
    queue = make_queue(max_running=1)
    async with submitted(queue, 1):
        clock[0] += 1000
        assert queue.estimated_wait_s == 0.0


async def test_photo_admitted_on_wrong_estimate_is_rejected_after_overrun(make_queue):
    queue = make_queue(max_running=1, max_wait_s=0.02)
    for own in queue.of_process:
        own._service_times.update(Workload("mask", 1), 1e-9)
    async with submitted(queue, 1, 1) as (_, tasks):
        with pytest.raises(Overloaded) as caught:
            await tasks[1]
        assert caught.value.limit == 0.04
        assert (queue.running, queue.queued) == (1, 0)


async def test_photo_without_max_wait_waits_behind_full_queue(make_queue):
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


async def test_cancelled_photo_leaves_the_queue(make_queue):
    queue = make_queue(max_running=1)
    async with submitted(queue, 1, 2, 3) as (photos, tasks):
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        assert queue.queued == 1
        photos[0].end.set()
        await photos[2].running.wait()


@pytest.mark.parametrize("processes", [1])  # between two, the event loop takes longer
async def test_photo_cancelled_when_started_passes_its_slot_on(make_queue):
    queue = make_queue(max_running=1)
    async with submitted(queue, 1, 2, 3) as (photos, tasks):
        photos[0].end.set()
        await asyncio.sleep(0)
        assert queue.running_pixels == 2
        assert not photos[1].running.is_set()
        tasks[1].cancel()  # its slot is granted, but its task has not resumed yet
        await photos[2].running.wait()
        assert queue.running == 1


async def test_failed_photo_does_not_update_the_estimate(make_queue, clock):
    queue = make_queue(max_running=1)

    async def fail():
        async with queue.slot(Workload("mask", 0)):
            clock[0] += 100
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with submitted(queue, 0):
        assert queue.estimated_wait_s == pytest.approx(INITIAL_ESTIMATE_S)


@pytest.mark.parametrize("processes", [1])  # each process learns its own times
async def test_photo_that_gives_up_in_its_slot_raises_the_estimate(make_queue, clock):
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


async def test_process_at_its_share_is_passed_over():
    with ExitStack() as stack:
        queue = ProcessQueues(2, stack, max_running=2)
        first, second = queue.of_process
        async with (
            submitted(first, 1, 2) as (busy, _),
            submitted(second, 3) as (idle, _),
        ):
            assert [photo.running.is_set() for photo in (*busy, *idle)] == [True, False, True]


async def test_wait_in_process_above_its_share_is_longer(clock):
    with ExitStack() as stack:
        first, second = ProcessQueues(2, stack, max_running=2, max_wait_s=0.35).of_process
        async with submitted(first, 0, 0, 0, 0):
            assert first.estimated_wait_s == second.estimated_wait_s == pytest.approx(0.2)
            with pytest.raises(Overloaded) as caught:
                first.check()
            assert caught.value.actual == pytest.approx(0.4)
            second.check()


async def test_death_of_a_process_frees_its_places():
    with ExitStack() as stack:
        group = ProcessGroup(2)
        stack.callback(group.close)
        limits = {"max_running": 1, "max_pixels": 100, "max_queued": 1, "max_wait_s": LONG_S}
        dead, other = (PhotoQueue(**limits, group=group.member(index)) for index in range(2))
        stack.enter_context(other._group.listening())
        async with submitted(dead, 1), submitted(other, 1) as (photos, _):
            assert (other.running, other.queued) == (1, 1)
            group.forget(0)
            await photos[0].running.wait()
            assert (other.running, other.queued) == (1, 0)


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
    ),
    st.integers(1, 3),
)
def test_queue_stays_within_limits_and_starves_no_photo(events, processes):
    asyncio.run(_play(events, processes))


async def _play(events, processes):
    with ExitStack() as stack:
        await _play_on(ProcessQueues(processes, stack, max_running=3, max_queued=4), events)


async def _play_on(queue, events):
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
