import asyncio
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from silhouette_seg.engine.base import PRIORITY, Priority
from silhouette_seg.engine.batcher import Batcher, BatchQueue, QueueEntry
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import Draining, EngineFailed, Overloaded
from tests.support.tiny_model import tiny_spec

SPEC = tiny_spec(size_hw=(2, 3))


def entry(
    item: str = "", *, key: str = "a", rows: int = 1, deadline: float = 10
) -> QueueEntry[str]:
    return QueueEntry(item, key, rows, deadline)


def items(batch: list[QueueEntry[str]]) -> str:
    return "".join(one.item for one in batch)


class TestQueue:
    def queue(
        self, *entries: QueueEntry[str], max_batch: int = 3, max_queue: int = 9
    ) -> BatchQueue:
        queue: BatchQueue[str] = BatchQueue(max_batch=max_batch, max_queue=max_queue)
        for one in entries:
            queue.push(one)
        return queue

    def test_empty_pops_nothing(self):
        assert self.queue().pop(0) == []

    def test_oldest_first_up_to_the_bound(self):
        queue = self.queue(*map(entry, "abcd"))
        assert items(queue.pop(0)) == "abc"
        assert items(queue.pop(0)) == "d"

    def test_full_refuses_with_the_numbers(self):
        queue = self.queue(entry(), entry(), max_queue=2)
        with pytest.raises(Overloaded) as caught:
            queue.push(entry())
        assert (caught.value.limit, caught.value.actual) == (2, 3)
        assert caught.value.retry_after_s == 1
        assert len(queue) == 2

    def test_a_discarded_entry_takes_no_place(self):
        gone = entry("x")
        queue = self.queue(gone, entry("y"), max_queue=2)
        queue.discard(gone)
        queue.push(entry("z"))
        assert items(queue.pop(0)) == "yz"

    def test_discarding_a_stranger_changes_nothing(self):
        queue = self.queue(entry("x"))
        queue.discard(entry("x"))
        assert items(queue.pop(0)) == "x"

    def test_an_overdue_entry_is_dropped(self):
        queue = self.queue(entry("x", deadline=1), entry("y", deadline=2))
        assert items(queue.pop(1)) == "y"
        assert len(queue) == 0

    def test_only_equal_keys_share_a_batch(self):
        queue = self.queue(entry("x", key="a"), entry("y", key="b"), entry("z", key="a"))
        assert items(queue.pop(0)) == "xz"
        assert items(queue.pop(0)) == "y"

    def test_rows_bound_the_batch(self):
        queue = self.queue(entry("x", rows=2), entry("y", rows=2), entry("z", rows=1))
        assert items(queue.pop(0)) == "x"
        assert items(queue.pop(0)) == "yz"

    def test_more_rows_than_the_bound_go_alone(self):
        queue = self.queue(entry("x", rows=5), entry("y"))
        assert items(queue.pop(0)) == "x"

    def test_clear_gives_everything_back(self):
        queue = self.queue(*map(entry, "abcd"))
        assert items(queue.clear()) == "abcd"
        assert len(queue) == 0


class TestPriority:
    """Capital letters are live frames."""

    @staticmethod
    def waiting(letters: str, *, keys: str = "", **options) -> BatchQueue:
        queue: BatchQueue[str] = BatchQueue(**({"max_batch": 1, "max_queue": 9} | options))
        for letter, key in zip(letters, keys or "k" * len(letters), strict=True):
            queue.push(prioritised(letter, key))
        return queue

    @pytest.mark.parametrize(
        ("waiting", "served"),
        [("abc", "abc"), ("abC", "Cab"), ("aBcD", "BDac"), ("ABC", "ABC"), ("Ab", "Ab")],
    )
    def test_live_before_photos_and_among_equals_in_order(self, waiting, served):
        queue = self.waiting(waiting)
        assert "".join(items(queue.pop(0)) for _ in waiting) == served

    @pytest.mark.parametrize(
        ("waiting", "keys", "batches"),
        [
            ("aBcD", "kkkk", ["BDa", "c"]),
            ("aBcD", "xyxy", ["BD", "ac"]),
            ("aBcD", "xxyx", ["BDa", "c"]),
            ("abC", "xxy", ["C", "ab"]),
        ],
    )
    def test_photos_of_the_same_key_fill_what_live_frames_leave(self, waiting, keys, batches):
        queue = self.waiting(waiting, keys=keys, max_batch=3)
        assert [items(queue.pop(0)) for _ in batches] == batches
        assert len(queue) == 0

    @pytest.mark.parametrize(
        ("waiting", "refused"), [("ab", "c"), ("AB", "C"), ("abAB", "c"), ("abAB", "C")]
    )
    def test_each_has_a_bound_of_its_own(self, waiting, refused):
        queue = self.waiting(waiting, max_queue=2)
        with pytest.raises(Overloaded) as caught:
            queue.push(prioritised(refused))
        assert (caught.value.limit, caught.value.actual) == (2, 3)

    @pytest.mark.parametrize(("waiting", "taken"), [("ab", "C"), ("AB", "c"), ("abA", "B")])
    def test_one_does_not_take_the_places_of_the_other(self, waiting, taken):
        queue = self.waiting(waiting, max_queue=2)
        queue.push(prioritised(taken))
        assert len(queue) == len(waiting) + 1


def prioritised(letter: str, key: str = "k") -> QueueEntry[str]:
    priority = Priority.LIVE if letter.isupper() else Priority.PHOTO
    return QueueEntry(letter, key, 1, 10, priority)


class QueueMachine(RuleBasedStateMachine):
    """Against a plain list of what should still be waiting."""

    MAX_BATCH = 4
    MAX_QUEUE = 5

    def __init__(self):
        super().__init__()
        self.queue: BatchQueue[int] = BatchQueue(max_batch=self.MAX_BATCH, max_queue=self.MAX_QUEUE)
        self.waiting: deque[QueueEntry[int]] = deque()
        self.now = 0
        self.pushed = 0

    @rule(key=st.sampled_from("ab"), rows=st.integers(1, 6), patience=st.integers(1, 5))
    def push(self, key, rows, patience):
        one = QueueEntry(self.pushed, key, rows, self.now + patience)
        self.pushed += 1
        if len(self.waiting) < self.MAX_QUEUE:
            self.queue.push(one)
            self.waiting.append(one)
        else:
            with pytest.raises(Overloaded):
                self.queue.push(one)

    @precondition(lambda self: self.waiting)
    @rule(choice=st.integers(0, MAX_QUEUE - 1))
    def discard(self, choice):
        gone = self.waiting[choice % len(self.waiting)]
        self.waiting.remove(gone)
        self.queue.discard(gone)

    @rule(passed=st.integers(1, 3))
    def wait(self, passed):
        self.now += passed

    @rule()
    def pop(self):
        batch = self.queue.pop(self.now)
        alive = [one for one in self.waiting if one.deadline > self.now]
        assert bool(batch) == bool(alive)
        if batch:
            self.check(batch, alive)
        self.waiting = deque(one for one in alive if one not in batch)

    def check(self, batch, alive):
        oldest = alive[0]
        same_key = [one for one in alive if one.key == oldest.key]
        rows = sum(one.rows for one in batch)
        assert batch == same_key[: len(batch)]
        assert rows <= self.MAX_BATCH or batch == [oldest]
        left = same_key[len(batch) :]
        assert not left or rows + left[0].rows > self.MAX_BATCH

    @invariant()
    def holds_what_waits(self):
        assert len(self.queue) == len(self.waiting)


TestQueueMachine = QueueMachine.TestCase


def image(red: int, rows: int = 1) -> dict[str, np.ndarray]:
    return {"image": np.full((rows, *SPEC.size_hw, 3), red, np.uint8)}


def batcher(engine: FakeEngine, **options) -> Batcher:
    defaults = {"max_batch": 4, "max_queue": 8, "queue_timeout_s": 60, "concurrency": 1}
    return Batcher(engine, **(defaults | options))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(SPEC)


@pytest.fixture
async def call():
    """Starts a call of red value `red`, and lets it reach the queue."""
    tasks = []

    async def start(target: Batcher, red: int, rows: int = 1) -> asyncio.Task:
        tasks.append(asyncio.create_task(target.infer(image(red, rows))))
        await asyncio.sleep(0)
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def reds(alpha: np.ndarray) -> list[int]:
    return alpha[:, 0, 0].tolist()


async def test_nothing_waits_while_a_place_is_free(engine, call):
    engine.gate.clear()
    target = batcher(engine, concurrency=2)
    await call(target, 1)
    await call(target, 2)
    await engine.wait_for_batches(2)
    assert (engine.batch_sizes, target.queued) == ([1, 1], 0)


async def test_what_queued_meanwhile_becomes_one_batch(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red) for red in range(4)]
    await engine.wait_for_batches(1)
    assert target.queued == 3
    engine.gate.set()
    answers = await asyncio.gather(*calls)
    assert [reds(alpha) for alpha in answers] == [[0], [1], [2], [3]]
    assert engine.batch_sizes == [1, 3]


async def test_rows_of_unequal_callers_are_told_apart(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red, rows) for red, rows in [(9, 1), (1, 2), (2, 1), (3, 3)]]
    await engine.wait_for_batches(1)
    engine.gate.set()
    answers = await asyncio.gather(*calls)
    assert [reds(alpha) for alpha in answers] == [[9], [1, 1], [2], [3, 3, 3]]
    assert engine.batch_sizes == [1, 3, 3]


async def test_the_model_bounds_the_batch_too(call):
    engine = FakeEngine(SPEC.model_copy(update={"max_batch": 2}))
    engine.gate.clear()
    target = batcher(engine, max_batch=32)
    calls = [await call(target, red) for red in range(4)]
    engine.gate.set()
    await asyncio.gather(*calls)
    assert engine.batch_sizes == [1, 2, 1]


async def test_never_more_batches_inside_than_places(engine, call):
    engine.gate.clear()
    target = batcher(engine, max_batch=1, concurrency=2)
    calls = [await call(target, red) for red in range(5)]
    await engine.wait_for_batches(2)
    assert (engine.running, target.queued) == (2, 3)
    engine.gate.set()
    await asyncio.gather(*calls)
    assert engine.batch_sizes == [1] * 5


async def test_full_queue_refuses_at_once(engine, call):
    engine.gate.clear()
    target = batcher(engine, max_queue=1)
    await call(target, 1)
    await call(target, 2)
    with pytest.raises(Overloaded):
        await target.infer(image(3))


async def test_a_live_frame_overtakes_photos_that_wait(engine, call):
    engine.gate.clear()
    target = batcher(engine, max_batch=1)
    photos = [await call(target, red) for red in range(3)]
    token = PRIORITY.set(Priority.LIVE)
    live = await call(target, 9)
    PRIORITY.reset(token)
    finished: list[int] = []
    for red, task in [(9, live), *enumerate(photos)]:
        task.add_done_callback(lambda _, red=red: finished.append(red))
    engine.gate.set()
    await asyncio.gather(live, *photos)
    assert finished == [0, 9, 1, 2]


async def test_who_waited_too_long_is_told_though_no_place_gets_free(engine, call):
    engine.gate.clear()
    target = batcher(engine, queue_timeout_s=0.01)
    running = await call(target, 1)
    with pytest.raises(Overloaded) as caught:
        await target.infer(image(2))
    assert caught.value.retry_after_s == 1
    assert target.queued == 0
    engine.gate.set()
    assert reds(await running) == [1]


async def test_a_failed_batch_fails_its_own_callers_only(engine, call):
    engine.gate.clear()
    target = batcher(engine, max_batch=2)
    calls = [await call(target, red) for red in range(5)]
    await engine.wait_for_batches(1)
    engine.fail_next(EngineFailed("broken"))
    engine.gate.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers[1:3]] == [EngineFailed, EngineFailed]
    assert [reds(answers[red]) for red in (0, 3, 4)] == [[0], [3], [4]]
    assert engine.batch_sizes == [1, 2, 2]


async def test_a_wrong_input_is_refused_before_it_meets_its_neighbours(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red) for red in range(2)]
    with pytest.raises(ValueError, match="float32"):
        await target.infer({"image": image(2)["image"].astype(np.float32)})
    engine.gate.set()
    assert [reds(alpha) for alpha in await asyncio.gather(*calls)] == [[0], [1]]


async def test_an_answer_of_another_length_is_a_failure():
    class ShortEngine(FakeEngine):
        async def infer(self, inputs):
            return (await super().infer(inputs))[:-1]

    with pytest.raises(EngineFailed):
        await batcher(ShortEngine(SPEC)).infer(image(1, rows=2))


async def test_a_caller_who_leaves_the_queue_is_not_run(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red) for red in range(4)]
    calls[2].cancel()
    await asyncio.wait([calls[2]])
    assert target.queued == 2
    engine.gate.set()
    answers = await asyncio.gather(calls[0], calls[1], calls[3])
    assert [reds(alpha) for alpha in answers] == [[0], [1], [3]]
    assert engine.batch_sizes == [1, 2]


async def test_a_batch_that_everybody_left_is_cancelled_and_its_place_is_free(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    only = await call(target, 1)
    await engine.wait_for_batches(1)
    only.cancel()
    await asyncio.wait([only])
    engine.gate.set()
    assert reds(await target.infer(image(2))) == [2]
    assert engine.batch_sizes == [1, 1]


async def test_a_batch_that_somebody_still_wants_goes_on(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red) for red in range(3)]
    await engine.wait_for_batches(1)
    calls[0].cancel()
    await engine.wait_for_batches(2)
    calls[1].cancel()
    await asyncio.wait([calls[1]])
    assert engine.running == 1
    engine.gate.set()
    assert reds(await calls[2]) == [2]
    assert engine.batch_sizes == [1, 2]


async def test_a_caller_who_leaves_before_the_batch_began_frees_the_place(engine):
    target = batcher(engine)
    early = asyncio.create_task(target.infer(image(1)))
    asyncio.get_running_loop().call_soon(early.cancel)
    await asyncio.wait([early])
    assert early.cancelled()
    assert reds(await target.infer(image(2))) == [2]


async def test_close_tells_whoever_is_left(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    calls = [await call(target, red) for red in range(3)]
    await engine.wait_for_batches(1)
    await target.close()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Draining] * 3
    with pytest.raises(Draining):
        await target.infer(image(1))
    with pytest.raises(EngineFailed):
        await engine.infer(image(1))


async def test_wait_and_run_are_told_apart(engine, call):
    engine.gate.clear()
    target = batcher(engine)
    clock = asyncio.get_running_loop()
    await call(target, 1)
    await engine.wait_for_batches(1)
    created = clock.time()
    second = asyncio.create_task(target.infer_timed(image(2)))
    await asyncio.sleep(0)
    queued = clock.time()
    await asyncio.sleep(0.001)
    freed = clock.time()
    engine.gate.set()
    timed = await second
    assert timed.queue_s >= freed - queued
    assert timed.queue_s + timed.infer_s <= clock.time() - created


async def test_batch_sizes_are_told(engine, call):
    engine.gate.clear()
    sizes = []
    target = batcher(engine, on_batch=sizes.append)
    calls = [await call(target, red) for red in range(3)]
    engine.gate.set()
    await asyncio.gather(*calls)
    assert sizes == [1, 2]


async def test_callers_of_different_domains_share_a_batch_and_get_their_own():
    engine = FakeEngine(tiny_spec("md_trisenet", size_hw=(2, 3)))
    engine.gate.clear()
    target = batcher(engine, max_batch=8)
    calls = [
        asyncio.create_task(target.infer({**image(64), "domain": np.array([domain])}))
        for domain in range(6)
    ]
    await engine.wait_for_batches(1)
    engine.gate.set()
    answers = await asyncio.gather(*calls)
    assert [reds(alpha) for alpha in answers] == [[64 ^ domain] for domain in range(6)]
    assert engine.batch_sizes == [1, 5]


@given(
    callers=st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=16),
    max_batch=st.integers(1, 6),
    concurrency=st.integers(1, 3),
    seed=st.integers(0, 3),
)
def test_every_caller_gets_its_own_rows_or_leaves(callers, max_batch, concurrency, seed):
    async def scenario():
        engine = FakeEngine(SPEC)
        engine.gate.clear()
        target = batcher(engine, max_batch=max_batch, max_queue=16, concurrency=concurrency)
        calls = [
            asyncio.create_task(target.infer(image(red, rows)))
            for red, (rows, _) in enumerate(callers)
        ]
        for _ in range(seed):
            await asyncio.sleep(0)
        for task, (_, leaves) in zip(calls, callers, strict=True):
            if leaves:
                task.cancel()
        engine.gate.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for red, (rows, leaves) in enumerate(callers):
            if leaves:
                assert isinstance(answers[red], asyncio.CancelledError)
            else:
                assert reds(answers[red]) == [red] * rows
        assert (target.queued, engine.running) == (0, 0)
        await target.close()

    asyncio.run(scenario())
