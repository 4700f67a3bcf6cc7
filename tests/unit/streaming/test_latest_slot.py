import asyncio

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from silhouette_seg.streaming.latest_slot import LatestSlot, SlotClosed


@pytest.mark.parametrize(
    ("puts", "replaced", "taken", "dropped"),
    [
        ("", [], None, 0),
        ("a", [None], "a", 0),
        ("ab", [None, "a"], "b", 1),
        ("abc", [None, "a", "b"], "c", 2),
    ],
)
def test_the_newest_wins(puts, replaced, taken, dropped):
    slot: LatestSlot[str] = LatestSlot()
    assert [slot.put(item) for item in puts] == replaced
    assert slot.dropped == dropped
    assert slot.get_nowait() == taken
    assert slot.get_nowait() is None


async def test_get_waits_for_what_comes():
    slot: LatestSlot[str] = LatestSlot()
    reader = asyncio.create_task(slot.get())
    await asyncio.sleep(0)
    assert not reader.done()
    slot.put("a")
    assert await reader == "a"


async def test_whoever_waits_gets_the_newest_of_what_came_at_once():
    slot: LatestSlot[str] = LatestSlot()
    reader = asyncio.create_task(slot.get())
    await asyncio.sleep(0)
    slot.put("a")
    slot.put("b")
    assert await reader == "b"
    assert slot.dropped == 1


async def test_what_is_in_it_when_it_closes_may_still_be_taken():
    slot: LatestSlot[str] = LatestSlot()
    slot.put("a")
    slot.close()
    assert await slot.get() == "a"
    with pytest.raises(SlotClosed):
        await slot.get()


async def test_closing_wakes_whoever_waits():
    slot: LatestSlot[str] = LatestSlot()
    reader = asyncio.create_task(slot.get())
    await asyncio.sleep(0)
    slot.close()
    with pytest.raises(SlotClosed):
        await reader


def test_nothing_is_put_into_a_closed_slot():
    slot: LatestSlot[str] = LatestSlot()
    slot.close()
    with pytest.raises(SlotClosed):
        slot.put("a")


async def test_a_reader_that_leaves_takes_nothing_along():
    slot: LatestSlot[str] = LatestSlot()
    reader = asyncio.create_task(slot.get())
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait([reader])
    slot.put("a")
    assert await slot.get() == "a"


class SlotMachine(RuleBasedStateMachine):
    """Each item that was put in is taken, pushed out, or waits: never two of these, or none."""

    def __init__(self):
        super().__init__()
        self.slot: LatestSlot[int] = LatestSlot()
        self.closed = False
        self.put_in: list[int] = []
        self.came_out: list[int] = []
        self.waiting: int | None = None

    @precondition(lambda self: not self.closed)
    @rule(count=st.integers(1, 3))
    def put(self, count):
        for _ in range(count):
            item = len(self.put_in)
            self.put_in.append(item)
            replaced = self.slot.put(item)
            assert replaced == self.waiting
            if replaced is not None:
                self.came_out.append(replaced)
            self.waiting = item

    @rule()
    def get_nowait(self):
        taken = self.slot.get_nowait()
        assert taken == self.waiting
        if taken is not None:
            self.came_out.append(taken)
        self.waiting = None

    @rule()
    def close(self):
        self.slot.close()
        self.closed = True

    @invariant()
    def in_order_and_once(self):
        waits = [] if self.waiting is None else [self.waiting]
        assert self.came_out + waits == self.put_in


TestSlotMachine = SlotMachine.TestCase
