"""The temporal context: priors, resets, failed frames, smoothing."""

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
def context(clock):
    return StreamContext(clock=clock)


def image(level: int = 100) -> np.ndarray:
    return np.full((*HW, 3), level, np.uint8)


def mask(level: int) -> np.ndarray:
    return np.full(HW, level, np.uint8)


def step(context: StreamContext, level: int, *, of: int = 100, photo_hw=PHOTO_HW) -> np.ndarray:
    """Feeds an image of level `of` and a mask of `level`. Returns the prior without its gain."""
    prior = context.prior(image(of), photo_hw)
    context.update(mask(level))
    return prior / PRIOR_GAIN


def test_first_frame_has_zero_prior(context):
    prior = context.prior(image(), PHOTO_HW)
    assert (prior.shape, prior.dtype, prior.any()) == (HW, np.uint8, False)


def test_prior_is_previous_mask(context):
    assert [step(context, level).max() for level in (8, 16, 24)] == [0, 8, 16]


def test_prior_is_mask_before_smoothing(clock):
    context = StreamContext(smoothing=1.0, clock=clock)
    step(context, 0)
    context.prior(image(), PHOTO_HW)
    shown = context.update(mask(200))
    assert shown.max() < 200
    assert context.prior(image(), PHOTO_HW).min() == 200 * PRIOR_GAIN


@pytest.mark.parametrize(
    ("event", "is_reset"),
    [
        ("nothing", False),
        ("size", True),
        ("rotation", True),
        ("short pause", False),
        ("gap", True),
        ("cut", True),
        ("a little darker", False),
        ("reset", True),
    ],
)
def test_context_is_reset_by_event(context, clock, event, is_reset):
    step(context, 48)
    clock.now += {"short pause": MAX_FRAME_GAP_S, "gap": MAX_FRAME_GAP_S + 0.01}.get(event, 0.03)
    if event == "reset":
        context.reset()
    photo_hw = {"size": (240, 320), "rotation": (640, 480)}.get(event, PHOTO_HW)
    level = {"cut": 200, "a little darker": 80}.get(event, 100)
    assert step(context, 56, of=level, photo_hw=photo_hw).any() == (not is_reset)
    assert step(context, 64, of=level, photo_hw=photo_hw).max() == 56


def test_reset_during_a_frame_discards_that_frame(context):
    context.prior(image(), PHOTO_HW)
    context.reset()
    context.update(mask(48))
    assert not step(context, 56).any()
    assert step(context, 64).max() == 56


class TestFailedFrame:
    """A frame that asked for its prior and got no mask."""

    def test_failed_frame_leaves_previous_mask_valid(self, context):
        step(context, 48)
        context.prior(image(), PHOTO_HW)
        assert step(context, 56).max() == 48

    def test_failed_frames_do_not_extend_maximum_gap(self, context, clock):
        step(context, 48)
        for _ in range(4):
            clock.now += MAX_FRAME_GAP_S / 2
            context.prior(image(), PHOTO_HW)
        assert not step(context, 56).any()

    def test_failed_frame_of_another_size_hides_no_size_change(self, context):
        step(context, 48)
        context.prior(image(), (240, 320))
        assert not step(context, 56, photo_hw=(240, 320)).any()


def test_contexts_share_no_state(clock):
    one, other = StreamContext(clock=clock), StreamContext(clock=clock)
    step(one, 8)
    step(other, 16)
    one.reset()
    assert not step(one, 24).any()
    assert step(other, 32).max() == 16


def test_update_without_prior_raises(context):
    with pytest.raises(ValueError, match="prior"):
        context.update(mask(1))


def test_changed_smoothing_applies_from_next_frame(clock):
    context = StreamContext(smoothing=0.0, clock=clock)
    step(context, 0)
    context.prior(image(), PHOTO_HW)
    assert context.update(mask(200)).min() == 200
    context.smoothing = 0.9
    context.prior(image(), PHOTO_HW)
    assert context.update(mask(100)).min() > 100
