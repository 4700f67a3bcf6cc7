import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.admission import photo_queue as module
from silhouette_seg.admission.photo_queue import FIRST_GUESS_S, FIXED_PIXELS, Pace, Turns, Work
from silhouette_seg.errors import Overloaded

LONG_S = 1000.0


def turns_of(**limits):
    return Turns(
        **{"at_once": 2, "max_pixels": 100, "max_waiting": 8, "max_wait_s": LONG_S, **limits}
    )


@dataclass
class Photo:
    """One that holds its turn until it is told to end it."""

    turns: Turns
    work: Work
    patient: bool = False
    working: asyncio.Event = field(default_factory=asyncio.Event)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> float:
        async with self.turns.take(self.work, patient=self.patient) as waited_s:
            self.working.set()
            await self.end.wait()
            return waited_s


@asynccontextmanager
async def photos(turns, *pixels, kind="mask", patient=False):
    """Photos in the order of their coming, each with its task; all have ended afterwards."""
    came = [Photo(turns, Work(kind, each), patient) for each in pixels]
    tasks = [asyncio.create_task(photo.run()) for photo in came]
    await settle()
    try:
        yield came, tasks
    finally:
        for photo in came:
            photo.end.set()
        await asyncio.gather(*tasks, return_exceptions=True)


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only the test moves."""
    now = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return now


async def test_a_free_place_is_taken_at_once():
    turns = turns_of()
    async with photos(turns, 10, 20) as (_, tasks):
        assert (turns.working, turns.waiting, turns.pixels) == (2, 0, 30)
        assert not any(task.done() for task in tasks)
    assert (turns.working, turns.waiting, turns.pixels) == (0, 0, 0)


async def test_the_others_wait_in_their_order(clock):
    turns = turns_of(at_once=1)
    async with photos(turns, 1, 2, 3) as (came, tasks):
        assert (turns.working, turns.waiting) == (1, 2)
        clock[0] = 5.0
        came[0].end.set()
        await came[1].working.wait()
        assert not came[2].working.is_set()
        clock[0] = 7.0
        came[1].end.set()
        await came[2].working.wait()
        came[2].end.set()
        assert [await task for task in tasks] == [0.0, 5.0, 7.0]


async def test_pixels_are_bounded_and_nothing_overtakes():
    turns = turns_of(at_once=4)
    async with photos(turns, 60, 50, 10) as (came, _):
        assert [photo.working.is_set() for photo in came] == [True, False, False]
        came[0].end.set()
        await came[2].working.wait()
        assert turns.pixels == 60


async def test_a_photo_over_the_bound_has_its_turn_alone():
    turns = turns_of(at_once=4)
    async with photos(turns, 1000, 1) as (came, _):
        assert [photo.working.is_set() for photo in came] == [True, False]
        came[0].end.set()
        await came[1].working.wait()


async def test_a_full_line_refuses_with_the_numbers():
    turns = turns_of(at_once=1, max_waiting=2)
    async with photos(turns, 1, 1, 1, 1) as (_, tasks):
        with pytest.raises(Overloaded) as caught:
            await tasks[3]
        assert (caught.value.limit, caught.value.actual) == (2, 3)
        assert caught.value.retry_after_s >= 1
        assert turns.waiting == 2


async def test_a_long_wait_is_foretold_and_refused_with_when_to_come_again(clock):
    turns = turns_of(at_once=2, max_wait_s=1.3)
    for _ in range(100):
        async with turns.take(Work("mask", 0)):
            clock[0] += 0.8
    async with photos(turns, 0, 0, 0, 0) as (_, tasks):
        # Four of 0.8 s at two places.
        assert turns.wait_s == pytest.approx(1.6)
        with pytest.raises(Overloaded) as caught:
            turns.check()
        assert (caught.value.limit, caught.value.actual) == (1.3, pytest.approx(1.6))
        assert caught.value.retry_after_s == 2
        clock[0] += 0.7  # of what is in work that much is done
        assert turns.wait_s == pytest.approx(0.9)
        turns.check()
        assert not any(task.done() for task in tasks)


async def test_a_free_place_is_no_wait(clock):
    turns = turns_of(at_once=2)
    async with photos(turns, 90):
        assert turns.wait_s == 0.0


async def test_what_takes_longer_than_foretold_is_no_negative_wait(clock):
    turns = turns_of(at_once=1)
    async with photos(turns, 1):
        clock[0] += 1000
        assert turns.wait_s == 0.0


async def test_who_waited_too_long_all_the_same_is_refused_and_leaves_nothing():
    turns = turns_of(at_once=1, max_wait_s=0.02)
    turns._pace.learn(Work("mask", 1), 1e-9)  # which it will belie
    async with photos(turns, 1, 1) as (_, tasks):
        with pytest.raises(Overloaded) as caught:
            await tasks[1]
        assert caught.value.limit == 0.04
        assert (turns.working, turns.waiting) == (1, 0)


async def test_the_patient_wait_behind_any_line():
    turns = turns_of(at_once=1, max_waiting=1, max_wait_s=0.001)
    async with (
        photos(turns, 1) as (first, _),
        photos(turns, 2, 3, patient=True) as (came, _),
    ):
        with pytest.raises(Overloaded):
            turns.check()
        first[0].end.set()
        await came[0].working.wait()
        came[0].end.set()
        await came[1].working.wait()


async def test_who_leaves_the_line_makes_room():
    turns = turns_of(at_once=1)
    async with photos(turns, 1, 2, 3) as (came, tasks):
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        assert turns.waiting == 1
        came[0].end.set()
        await came[2].working.wait()


async def test_who_leaves_when_just_called_passes_the_turn_on():
    turns = turns_of(at_once=1)
    async with photos(turns, 1, 2, 3) as (came, tasks):
        came[0].end.set()
        await asyncio.sleep(0)
        assert turns.pixels == 2
        assert not came[1].working.is_set()
        tasks[1].cancel()  # called, and not yet awake
        await came[2].working.wait()
        assert turns.working == 1


async def test_a_turn_that_failed_teaches_nothing(clock):
    turns = turns_of(at_once=1)

    async def fail():
        async with turns.take(Work("mask", 0)):
            clock[0] += 100
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with photos(turns, 0):
        assert turns.wait_s == pytest.approx(FIRST_GUESS_S)


def test_pace_knows_kinds_apart_and_counts_pixels():
    pace = Pace()
    pace.learn(Work("mask", 0), 0.02)
    pace.learn(Work("cutout", FIXED_PIXELS), 0.2)
    assert pace.predict(Work("mask", FIXED_PIXELS)) == pytest.approx(0.04)
    assert pace.predict(Work("cutout", 3 * FIXED_PIXELS)) == pytest.approx(0.4)
    assert pace.predict(Work("composite", 0)) == pytest.approx(FIRST_GUESS_S)


def test_pace_forgets_what_was():
    pace = Pace()
    pace.learn(Work("mask", 0), 10.0)
    for _ in range(200):
        pace.learn(Work("mask", 0), 0.02)
    assert pace.predict(Work("mask", 0)) == pytest.approx(0.02, rel=1e-3)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("come"), st.integers(0, 120)),
            st.tuples(st.sampled_from(["end", "leave"]), st.integers(0, 11)),
        ),
        max_size=30,
    )
)
def test_never_over_the_bounds_and_nobody_is_forgotten(events):
    asyncio.run(_play(events))


async def _play(events):
    turns = turns_of(at_once=3, max_waiting=4)
    came: list[Photo] = []
    tasks: list[asyncio.Task[float]] = []
    for what, value in events:
        if what == "come":
            came.append(Photo(turns, Work("mask", value)))
            tasks.append(asyncio.create_task(came[-1].run()))
        elif came and what == "end":
            came[value % len(came)].end.set()
        elif came:
            tasks[value % len(tasks)].cancel()
        await settle()
        assert turns.working <= 3
        assert turns.pixels <= 100 or turns.working == 1
        assert turns.waiting <= 4
        # Nobody waits while there is room for the one whose turn it is.
        assert turns.working or not turns.waiting
    for photo in came:
        photo.end.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(
        isinstance(result, (float, Overloaded, asyncio.CancelledError)) for result in results
    )
    assert (turns.working, turns.waiting, turns.pixels) == (0, 0, 0)
