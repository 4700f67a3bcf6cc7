"""Smoothing steadies static masks, leaves no ghosts, and lets errors fade."""

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
    """Adds Gaussian noise of `level` levels, as of a camera or a network."""
    return np.clip(np.rint(pixels + rng.normal(0, level, pixels.shape)), 0, 255).astype(np.uint8)


def play(frames, strength: float) -> list[np.ndarray]:
    """Smooths consecutive (image, mask) pairs and returns the masks."""
    shown, previous = [], None
    for image, alpha in frames:
        mask = smooth(alpha, image, previous, strength) if previous else alpha
        previous = PreviousFrame(image, alpha, mask)
        shown.append(mask)
    return shown


def flicker(masks) -> float:
    return float(np.abs(np.diff(np.array(masks, np.float32), axis=0)).mean())


@pytest.mark.parametrize(("strength", "max_ratio"), [(0.5, 0.75), (1.0, 0.4)])
def test_smoothing_reduces_flicker_of_static_scene(strength, max_ratio):
    rng = np.random.default_rng(0)
    scene, alpha = person(*HW), np.full(HW, 128, np.uint8)
    frames = [(noisy(scene, 2, rng), noisy(alpha, 30, rng)) for _ in range(20)]
    assert flicker(play(frames, strength)) < max_ratio * flicker(play(frames, 0))


def bar(column: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a skin-coloured bar in front of a dark wall, and its mask.

    The levels of the mask leave room for noise without clipping.
    """
    image = np.full((*HW, 3), 60, np.uint8)
    alpha = np.full(HW, 64, np.uint8)
    image[20:80, column : column + 12] = (205, 160, 135)
    alpha[20:80, column : column + 12] = 192
    return image, alpha


@pytest.mark.parametrize("speed", [1, 3, 7, 20])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_moving_bar_leaves_no_ghost(strength, speed):
    rng = np.random.default_rng(0)
    truths, frames = [], []
    for step in range(100 // speed):
        image, alpha = bar(step * speed)
        truths.append(alpha)
        frames.append((noisy(image, 2, rng), noisy(alpha, 20, rng)))
    raw, smoothed = play(frames, 0), play(frames, strength)
    masks = zip(truths, truths[1:], raw[1:], smoothed[1:], strict=False)
    for previous_truth, truth, raw_mask, smoothed_mask in masks:
        moved = previous_truth != truth
        assert np.array_equal(raw_mask[moved], smoothed_mask[moved])
        assert rms_error(smoothed_mask, truth) <= rms_error(raw_mask, truth)


def rms_error(mask: np.ndarray, truth: np.ndarray) -> float:
    """Returns the root mean square error in levels of 0..255."""
    return float(np.sqrt(np.square(mask.astype(float) - truth).mean()))


def test_wrong_mask_fades_within_a_second_in_static_scene():
    scene, right, wrong = person(*HW), np.zeros(HW, np.uint8), np.full(HW, 255, np.uint8)
    shown = play([(scene, wrong), *[(scene, right)] * 25], strength=1.0)
    assert shown[1].max() == pytest.approx(255 * MAX_CARRY_OVER, abs=2)
    assert shown[-1].max() < 255 * 0.1


def test_change_of_one_channel_counts_as_motion():
    image, alpha = bar(40)
    redder = image.copy()
    redder[..., 0] += 40
    previous = PreviousFrame(image, alpha, np.zeros_like(alpha))
    assert np.array_equal(smooth(alpha, redder, previous, 1.0), alpha)


@st.composite
def moments(draw):
    """Draws a mask, its image, and the previous frame."""
    hw = draw(SIDE), draw(SIDE)
    images = arrays(np.uint8, (*hw, 3))
    masks = arrays(np.uint8, hw)
    return draw(masks), draw(images), PreviousFrame(draw(images), draw(masks), draw(masks))


@given(moments(), st.floats(0, 1))
def test_smoothed_mask_lies_between_masks_and_inputs_are_unchanged(moment, strength):
    alpha, image, previous = moment
    inputs = (alpha, image, previous.image, previous.alpha, previous.smoothed)
    copies = [array.copy() for array in inputs]
    mask = smooth(alpha, image, previous, strength)
    assert (mask.shape, mask.dtype) == (alpha.shape, np.uint8)
    assert (mask >= np.minimum(alpha, previous.smoothed)).all()
    assert (mask <= np.maximum(alpha, previous.smoothed)).all()
    assert all(np.array_equal(*pair) for pair in zip(copies, inputs, strict=True))


@given(moments())
def test_strength_zero_keeps_the_mask(moment):
    alpha, image, previous = moment
    assert np.array_equal(smooth(alpha, image, previous, 0), alpha)


@given(moments(), st.floats(0, 1), st.floats(0, 1))
def test_higher_strength_stays_nearer_to_previous_mask(moment, one, other):
    alpha, image, previous = moment
    low, high = sorted((one, other))

    def distance(strength: float) -> np.ndarray:
        mask = smooth(alpha, image, previous, strength)
        return np.abs(mask - previous.smoothed.astype(int))

    assert (distance(high) <= distance(low)).all()


def test_damped_prior_is_an_eighth_of_the_mask():
    alpha = np.array([[0, 1, 104, 255]], np.uint8)
    assert damped_prior(alpha).tolist() == [[0, 0, 13, 32]]


def test_brightness_change_is_a_share_of_white():
    black, white = np.zeros((*HW, 3), np.uint8), np.full((*HW, 3), 255, np.uint8)
    assert brightness_change(black, black) == 0
    assert brightness_change(black, white) == brightness_change(white, black) == 1
    assert brightness_change(black, white // 4) == pytest.approx(0.25, abs=0.01)


def test_scene_cut_differs_from_moving_person():
    image, wall = person(*HW), np.full((*HW, 3), 250, np.uint8)
    assert is_scene_cut(wall, image)
    assert brightness_change(wall, image) > SCENE_CUT_CHANGE
    assert not is_scene_cut(np.roll(image, 4, axis=1), image)
