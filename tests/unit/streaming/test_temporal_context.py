import numpy as np
import pytest

from silhouette_seg.streaming.smoothing import PRIOR_GAIN
from silhouette_seg.streaming.temporal_context import MAX_FRAME_GAP_S, StreamContext

HW = (24, 32)
PHOTO_HW = (480, 640)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def memory(clock):
    return StreamContext(clock=clock)


def image(level: int = 100) -> np.ndarray:
    return np.full((*HW, 3), level, np.uint8)


def mask(level: int) -> np.ndarray:
    return np.full(HW, level, np.uint8)


def see(memory: StreamContext, level: int, *, of: int = 100, photo_hw=PHOTO_HW) -> np.ndarray:
    """The mask that the prior for a frame hints at; the frame's own then has that level."""
    prior = memory.prior(image(of), photo_hw)
    memory.update(mask(level))
    return prior / PRIOR_GAIN


def test_the_first_frame_has_none_before_it(memory):
    prior = memory.prior(image(), PHOTO_HW)
    assert (prior.shape, prior.dtype, prior.any()) == (HW, np.uint8, False)


def test_then_it_hints_at_the_mask_that_the_model_gave(memory):
    assert [see(memory, level).max() for level in (10, 20, 30)] == [0, 10, 20]


def test_the_prior_is_of_what_the_model_gave_and_not_what_was_shown(clock):
    memory = StreamContext(smoothing=1.0, clock=clock)
    see(memory, 0)
    memory.prior(image(), PHOTO_HW)
    shown = memory.update(mask(200))
    assert shown.max() < 200
    assert memory.prior(image(), PHOTO_HW).min() == 200 * PRIOR_GAIN


@pytest.mark.parametrize(
    ("what", "forgets"),
    [
        ("nothing", False),
        ("size", True),
        ("turned", True),
        ("short pause", False),
        ("gap", True),
        ("cut", True),
        ("a little darker", False),
        ("told", True),
    ],
)
def test_when_it_forgets(memory, clock, what, forgets):
    see(memory, 50)
    clock.now += {"short pause": MAX_FRAME_GAP_S, "gap": MAX_FRAME_GAP_S + 0.01}.get(what, 0.03)
    if what == "told":
        memory.reset()
    photo_hw = {"size": (240, 320), "turned": (640, 480)}.get(what, PHOTO_HW)
    level = {"cut": 200, "a little darker": 80}.get(what, 100)
    assert see(memory, 60, of=level, photo_hw=photo_hw).any() == (not forgets)
    assert see(memory, 70, of=level, photo_hw=photo_hw).max() == 60


def test_told_while_a_frame_is_in_work_it_forgets_that_one(memory):
    memory.prior(image(), PHOTO_HW)
    memory.reset()
    memory.update(mask(50))
    assert not see(memory, 60).any()
    assert see(memory, 70).max() == 60


class TestFrameThatFailed:
    """It was recalled for, and no mask came of it."""

    def test_the_one_before_it_still_counts(self, memory):
        see(memory, 50)
        memory.prior(image(), PHOTO_HW)
        assert see(memory, 60).max() == 50

    def test_failures_do_not_keep_an_old_mask_alive(self, memory, clock):
        see(memory, 50)
        for _ in range(4):
            clock.now += MAX_FRAME_GAP_S / 2
            memory.prior(image(), PHOTO_HW)
        assert not see(memory, 60).any()

    def test_one_of_another_size_does_not_hide_the_change(self, memory):
        see(memory, 50)
        memory.prior(image(), (240, 320))
        assert not see(memory, 60, photo_hw=(240, 320)).any()


def test_nothing_is_shared(clock):
    one, other = StreamContext(clock=clock), StreamContext(clock=clock)
    see(one, 10)
    see(other, 20)
    one.reset()
    assert not see(one, 30).any()
    assert see(other, 40).max() == 20


def test_a_mask_without_a_frame_is_refused(memory):
    with pytest.raises(ValueError, match="prior"):
        memory.update(mask(1))


def test_a_turned_dial_counts_from_the_next_frame(clock):
    memory = StreamContext(smoothing=0.0, clock=clock)
    see(memory, 0)
    memory.prior(image(), PHOTO_HW)
    assert memory.update(mask(200)).min() == 200
    memory.smoothing = 0.9
    memory.prior(image(), PHOTO_HW)
    assert memory.update(mask(100)).min() > 100
