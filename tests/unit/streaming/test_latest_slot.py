"""The one-item queue: order, cancellation, closing, and a state machine of random calls."""

import asyncio

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from silhouette_seg.streaming.latest_slot import LatestSlot, SlotClosed


@pytest.mark.parametrize(
    ("puts", "replaced", "newest", "dropped"),
    [
        ("", [], None, 0),
        ("a", [None], "a", 0),
        ("ab", [None, "a"], "b", 1),
        ("abc", [None, "a", "b"], "c", 2),
    ],
)
def test_slot_keeps_newest_item(puts, replaced, newest, dropped):
    slot: LatestSlot[str] = LatestSlot()
    assert [slot.put(item) for item in puts] == replaced
    assert slot.dropped == dropped
    assert slot.get_nowait() == newest
    assert slot.get_nowait() is None


async def test_get_waits_for_next_item():
    slot: LatestSlot[str] = LatestSlot()
    reader = asyncio.create_task(slot.get())
    await asyncio.sleep(0)
    assert not reader.done()
    slot.put("a")
    assert await reader == "a"


async def test_waiting_reader_gets_newest_of_several_items():
    slot: LatestSlot[str] = LatestSlot()
    reader = asyncio.create_task(slot.get())
    await asyncio.sleep(0)
    slot.put("a")
    slot.put("b")
    assert await reader == "b"
    assert slot.dropped == 1


async def test_closed_slot_returns_its_last_item():
    slot: LatestSlot[str] = LatestSlot()
    slot.put("a")
    slot.close()
    assert await slot.get() == "a"
    with pytest.raises(SlotClosed):
        await slot.get()


async def test_close_wakes_waiting_reader():
    slot: LatestSlot[str] = LatestSlot()
    reader = asyncio.create_task(slot.get())
    await asyncio.sleep(0)
    slot.close()
    with pytest.raises(SlotClosed):
        await reader


def test_insertedto_closed_slot_raises():
    slot: LatestSlot[str] = LatestSlot()
    slot.close()
    with pytest.raises(SlotClosed):
        slot.put("a")


async def test_cancelled_reader_loses_no_item():
    slot: LatestSlot[str] = LatestSlot()
    reader = asyncio.create_task(slot.get())
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait([reader])
    slot.put("a")
    assert await slot.get() == "a"


class SlotMachine(RuleBasedStateMachine):
    """Each item is read, replaced, or still in the slot: exactly one of the three."""

    def __init__(self):
        super().__init__()
        self.slot: LatestSlot[int] = LatestSlot()
        self.closed = False
        self.inserted: list[int] = []
        self.removed: list[int] = []
        self.stored: int | None = None

    @precondition(lambda self: not self.closed)
    @rule(count=st.integers(1, 3))
    def put(self, count):
        for _ in range(count):
            item = len(self.inserted)
            self.inserted.append(item)
            replaced = self.slot.put(item)
            assert replaced == self.stored
            if replaced is not None:
                self.removed.append(replaced)
            self.stored = item

    @rule()
    def get_nowait(self):
        item = self.slot.get_nowait()
        assert item == self.stored
        if item is not None:
            self.removed.append(item)
        self.stored = None

    @rule()
    def close(self):
        self.slot.close()
        self.closed = True

    @invariant()
    def items_leave_once_in_order(self):
        stored = [] if self.stored is None else [self.stored]
        assert self.removed + stored == self.inserted


TestSlotMachine = SlotMachine.TestCase
