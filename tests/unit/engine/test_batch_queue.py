from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from silhouette_seg.engine.base import Priority
from silhouette_seg.engine.batcher import BatchQueue, QueueEntry
from silhouette_seg.errors import Overloaded


def entry(
    item: str = "", *, key: str = "a", rows: int = 1, deadline: float = 10
) -> QueueEntry[str]:
    return QueueEntry(item, key, rows, deadline)


def items(batch: list[QueueEntry[str]]) -> str:
    return "".join(entry.item for entry in batch)


class TestQueue:
    def queue(
        self, *entries: QueueEntry[str], max_batch: int = 3, max_queue: int = 9
    ) -> BatchQueue:
        queue: BatchQueue[str] = BatchQueue(max_batch=max_batch, max_queue=max_queue)
        for queued in entries:
            queue.push(queued)
        return queue

    def test_empty_queue_pops_empty_batch(self):
        assert self.queue().pop(0) == []

    def test_oldest_entries_fill_the_batch(self):
        queue = self.queue(*map(entry, "abcd"))
        assert items(queue.pop(0)) == "abc"
        assert items(queue.pop(0)) == "d"

    def test_full_queue_raises_with_limit_and_count(self):
        queue = self.queue(entry(), entry(), max_queue=2)
        with pytest.raises(Overloaded) as caught:
            queue.push(entry())
        assert (caught.value.limit, caught.value.actual) == (2, 3)
        assert caught.value.retry_after_s == 1
        assert len(queue) == 2

    def test_discarded_entry_frees_its_place(self):
        discarded = entry("x")
        queue = self.queue(discarded, entry("y"), max_queue=2)
        queue.discard(discarded)
        queue.push(entry("z"))
        assert items(queue.pop(0)) == "yz"

    def test_discard_of_unknown_entry_has_no_effect(self):
        queue = self.queue(entry("x"))
        queue.discard(entry("x"))
        assert items(queue.pop(0)) == "x"

    def test_entry_past_its_deadline_is_dropped(self):
        queue = self.queue(entry("x", deadline=1), entry("y", deadline=2))
        assert items(queue.pop(1)) == "y"
        assert len(queue) == 0

    def test_batch_contains_one_key_only(self):
        queue = self.queue(entry("x", key="a"), entry("y", key="b"), entry("z", key="a"))
        assert items(queue.pop(0)) == "xz"
        assert items(queue.pop(0)) == "y"

    def test_batch_is_bounded_by_rows(self):
        queue = self.queue(entry("x", rows=2), entry("y", rows=2), entry("z", rows=1))
        assert items(queue.pop(0)) == "x"
        assert items(queue.pop(0)) == "yz"

    def test_entry_larger_than_the_bound_runs_alone(self):
        queue = self.queue(entry("x", rows=5), entry("y"))
        assert items(queue.pop(0)) == "x"

    def test_clear_returns_all_entries(self):
        queue = self.queue(*map(entry, "abcd"))
        assert items(queue.clear()) == "abcd"
        assert len(queue) == 0


class TestPriority:
    """Capital letters stand for live frames, small letters for photos."""

    @staticmethod
    def queue_of(letters: str, *, keys: str = "", **options) -> BatchQueue:
        queue: BatchQueue[str] = BatchQueue(**({"max_batch": 1, "max_queue": 9} | options))
        for letter, key in zip(letters, keys or "k" * len(letters), strict=True):
            queue.push(entry_of(letter, key))
        return queue

    @pytest.mark.parametrize(
        ("queued", "served"),
        [("abc", "abc"), ("abC", "Cab"), ("aBcD", "BDac"), ("ABC", "ABC"), ("Ab", "Ab")],
    )
    def test_live_frames_precede_photos_in_order_of_arrival(self, queued, served):
        queue = self.queue_of(queued)
        assert "".join(items(queue.pop(0)) for _ in queued) == served

    @pytest.mark.parametrize(
        ("queued", "served"),
        [("aABCDE", "ABCaDE"), ("abABCDEFG", "ABCaDEFbG"), ("ABCDEa", "ABCaDE")],
    )
    def test_photo_precedes_live_frames_after_three_batches(self, queued, served):
        queue = self.queue_of(queued)
        assert "".join(items(queue.pop(0)) for _ in queued) == served

    def test_photo_is_served_while_live_frames_arrive_all_the_time(self):
        queue = self.queue_of("aABCD")
        served = ""
        for letter in "EFGHI":
            served += items(queue.pop(0))
            queue.push(entry_of(letter))
        assert served == "ABCaD"

    @pytest.mark.parametrize(
        ("queued", "max_batch", "photo", "live"),
        [("", 1, 1, 1), ("ab", 1, 3, 1), ("abC", 1, 12, 2), ("abcC", 4, 4, 1)],
    )
    def test_batches_before_an_entry_follow_the_shares(self, queued, max_batch, photo, live):
        queue = self.queue_of(queued, max_batch=max_batch)
        assert queue.batches_before(Priority.PHOTO) == photo
        assert queue.batches_before(Priority.LIVE) == live

    @pytest.mark.parametrize(
        ("queued", "keys", "batches"),
        [
            ("aBcD", "kkkk", ["BDa", "c"]),
            ("aBcD", "xyxy", ["BD", "ac"]),
            ("aBcD", "xxyx", ["BDa", "c"]),
            ("abC", "xxy", ["C", "ab"]),
        ],
    )
    def test_photos_fill_the_rest_of_a_batch_of_live_frames(self, queued, keys, batches):
        queue = self.queue_of(queued, keys=keys, max_batch=3)
        assert [items(queue.pop(0)) for _ in batches] == batches
        assert len(queue) == 0

    @pytest.mark.parametrize(
        ("queued", "rejected"), [("ab", "c"), ("AB", "C"), ("abAB", "c"), ("abAB", "C")]
    )
    def test_priority_has_its_own_bound(self, queued, rejected):
        queue = self.queue_of(queued, max_queue=2)
        with pytest.raises(Overloaded) as caught:
            queue.push(entry_of(rejected))
        assert (caught.value.limit, caught.value.actual) == (2, 3)

    @pytest.mark.parametrize(("queued", "accepted"), [("ab", "C"), ("AB", "c"), ("abA", "B")])
    def test_full_priority_leaves_room_for_the_other(self, queued, accepted):
        queue = self.queue_of(queued, max_queue=2)
        queue.push(entry_of(accepted))
        assert len(queue) == len(queued) + 1


def entry_of(letter: str, key: str = "k") -> QueueEntry[str]:
    priority = Priority.LIVE if letter.isupper() else Priority.PHOTO
    return QueueEntry(letter, key, 1, 10, priority)


class QueueMachine(RuleBasedStateMachine):
    """Compares the queue with a plain list of the entries that it should hold."""

    MAX_BATCH = 4
    MAX_QUEUE = 5

    def __init__(self):
        super().__init__()
        self.queue: BatchQueue[int] = BatchQueue(max_batch=self.MAX_BATCH, max_queue=self.MAX_QUEUE)
        self.expected: deque[QueueEntry[int]] = deque()
        self.now = 0
        self.pushed = 0

    @rule(key=st.sampled_from("ab"), rows=st.integers(1, 6), lifetime=st.integers(1, 5))
    def push(self, key, rows, lifetime):
        entry = QueueEntry(self.pushed, key, rows, self.now + lifetime)
        self.pushed += 1
        if len(self.expected) < self.MAX_QUEUE:
            self.queue.push(entry)
            self.expected.append(entry)
        else:
            with pytest.raises(Overloaded):
                self.queue.push(entry)

    @precondition(lambda self: self.expected)
    @rule(choice=st.integers(0, MAX_QUEUE - 1))
    def discard(self, choice):
        discarded = self.expected[choice % len(self.expected)]
        self.expected.remove(discarded)
        self.queue.discard(discarded)

    @rule(duration=st.integers(1, 3))
    def wait(self, duration):
        self.now += duration

    @rule()
    def pop(self):
        batch = self.queue.pop(self.now)
        alive = [entry for entry in self.expected if entry.deadline > self.now]
        assert bool(batch) == bool(alive)
        if batch:
            self.check(batch, alive)
        self.expected = deque(entry for entry in alive if entry not in batch)

    def check(self, batch, alive):
        oldest = alive[0]
        same_key = [entry for entry in alive if entry.key == oldest.key]
        rows = sum(entry.rows for entry in batch)
        assert batch == same_key[: len(batch)]
        assert rows <= self.MAX_BATCH or batch == [oldest]
        left = same_key[len(batch) :]
        assert not left or rows + left[0].rows > self.MAX_BATCH

    @invariant()
    def length_matches(self):
        assert len(self.queue) == len(self.expected)


TestQueueMachine = QueueMachine.TestCase
