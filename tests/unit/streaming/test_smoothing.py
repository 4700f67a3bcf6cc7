"""A still mask gets steadier, a moving one leaves no ghost, and nothing is held on to for ever."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from silhouette_seg.streaming.smoothing import (
    MAX_CARRY_OVER,
    SCENE_CUT_CHANGE,
    PreviousFrame,
    brightness_change,
    damped_prior,
    is_scene_cut,
    smooth,
)
from tests.support.images import person

HW = (96, 128)
SIDE = st.integers(1, 24)


def noisy(pixels: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """With noise of that many levels, as a camera or a network adds it."""
    return np.clip(np.rint(pixels + rng.normal(0, level, pixels.shape)), 0, 255).astype(np.uint8)


def play(frames, dial: float) -> list[np.ndarray]:
    """What is shown of (image, mask) pairs, each the frame before the next."""
    shown, seen = [], None
    for image, alpha in frames:
        mask = smooth(alpha, image, seen, dial) if seen else alpha
        seen = PreviousFrame(image, alpha, mask)
        shown.append(mask)
    return shown


def flicker(masks) -> float:
    return float(np.abs(np.diff(np.array(masks, np.float32), axis=0)).mean())


@pytest.mark.parametrize(("dial", "at_most"), [(0.5, 0.75), (1.0, 0.4)])
def test_a_still_noisy_mask_becomes_steadier_by_the_dial(dial, at_most):
    rng = np.random.default_rng(0)
    scene, alpha = person(*HW), np.full(HW, 128, np.uint8)
    frames = [(noisy(scene, 2, rng), noisy(alpha, 30, rng)) for _ in range(20)]
    assert flicker(play(frames, dial)) < at_most * flicker(play(frames, 0))


def bar(column: int) -> tuple[np.ndarray, np.ndarray]:
    """A bar of skin colour before a dark wall, and its mask, of which noise clips nothing."""
    image = np.full((*HW, 3), 60, np.uint8)
    alpha = np.full(HW, 64, np.uint8)
    image[20:80, column : column + 12] = (205, 160, 135)
    alpha[20:80, column : column + 12] = 192
    return image, alpha


@pytest.mark.parametrize("speed", [1, 3, 7, 20])
@pytest.mark.parametrize("dial", [0.5, 1.0])
def test_a_moving_bar_leaves_no_ghost(dial, speed):
    rng = np.random.default_rng(0)
    truths, frames = [], []
    for step in range(100 // speed):
        image, alpha = bar(step * speed)
        truths.append(alpha)
        frames.append((noisy(image, 2, rng), noisy(alpha, 20, rng)))
    plain, steady = play(frames, 0), play(frames, dial)
    for before, truth, one, other in zip(truths, truths[1:], plain[1:], steady[1:], strict=False):
        moved = before != truth
        assert np.array_equal(one[moved], other[moved])
        assert error(other, truth) <= error(one, truth)


def error(mask: np.ndarray, truth: np.ndarray) -> float:
    """RMS in levels."""
    return float(np.sqrt(np.square(mask.astype(float) - truth).mean()))


def test_a_wrong_mask_is_gone_within_a_second_even_where_nothing_moves():
    scene, right, wrong = person(*HW), np.zeros(HW, np.uint8), np.full(HW, 255, np.uint8)
    shown = play([(scene, wrong), *[(scene, right)] * 25], dial=1.0)
    assert shown[1].max() == pytest.approx(255 * MAX_CARRY_OVER, abs=2)
    assert shown[-1].max() < 255 * 0.1


def test_a_change_of_one_channel_alone_counts():
    image, alpha = bar(40)
    redder = image.copy()
    redder[..., 0] += 40
    before = PreviousFrame(image, alpha, np.zeros_like(alpha))
    assert np.array_equal(smooth(alpha, redder, before, 1.0), alpha)


@st.composite
def moments(draw):
    """An image, the mask for it, and the frame before."""
    hw = draw(SIDE), draw(SIDE)
    images = arrays(np.uint8, (*hw, 3))
    masks = arrays(np.uint8, hw)
    return draw(masks), draw(images), PreviousFrame(draw(images), draw(masks), draw(masks))


@given(moments(), st.floats(0, 1))
def test_what_is_shown_lies_between_the_masks_and_nothing_is_touched(moment, dial):
    alpha, image, before = moment
    given = [each.copy() for each in (alpha, image, before.image, before.alpha, before.smoothed)]
    mask = smooth(alpha, image, before, dial)
    assert (mask.shape, mask.dtype) == (alpha.shape, np.uint8)
    assert (mask >= np.minimum(alpha, before.smoothed)).all()
    assert (mask <= np.maximum(alpha, before.smoothed)).all()
    after = (alpha, image, before.image, before.alpha, before.smoothed)
    assert all(np.array_equal(one, other) for one, other in zip(given, after, strict=True))


@given(moments())
def test_a_dial_at_zero_changes_nothing(moment):
    alpha, image, before = moment
    assert np.array_equal(smooth(alpha, image, before, 0), alpha)


@given(moments(), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_dial_stays_nearer_to_what_was_shown(moment, one, other):
    alpha, image, before = moment
    low, high = sorted((one, other))

    def moved(dial: float) -> np.ndarray:
        return np.abs(smooth(alpha, image, before, dial) - before.smoothed.astype(int))

    assert (moved(high) <= moved(low)).all()


def test_the_hint_is_half_of_the_mask():
    alpha = np.array([[0, 1, 100, 255]], np.uint8)
    assert damped_prior(alpha).tolist() == [[0, 0, 50, 128]]


def test_change_is_a_share_of_white():
    black, white = np.zeros((*HW, 3), np.uint8), np.full((*HW, 3), 255, np.uint8)
    assert brightness_change(black, black) == 0
    assert brightness_change(black, white) == brightness_change(white, black) == 1
    assert brightness_change(black, white // 4) == pytest.approx(0.25, abs=0.01)


def test_a_cut_is_another_scene_and_no_moving_person():
    image, wall = person(*HW), np.full((*HW, 3), 250, np.uint8)
    assert is_scene_cut(wall, image)
    assert brightness_change(wall, image) > SCENE_CUT_CHANGE
    assert not is_scene_cut(np.roll(image, 4, axis=1), image)
