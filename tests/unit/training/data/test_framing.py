"""Tests of random crops: position in the photo, shape, and close-ups of the person."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training.data.test_augmentation import STILL
from training.data.augmentation import warp
from training.data.framing import ASPECTS, Window, close_up, random_frame, random_window

sides = st.integers(2, 500)
seeds = st.integers(0, 2**32)


def assert_inside(window: Window, photo_hw: tuple[int, int]) -> None:
    assert window.top >= 0
    assert window.left >= 0
    assert window.top + window.height <= photo_hw[0] + 1e-6
    assert window.left + window.width <= photo_hw[1] + 1e-6
    assert min(window.size_hw) > 0


@given(height=sides, width=sides, seed=seeds)
def test_random_frame_lies_inside_the_photo(height, width, seed):
    assert_inside(random_frame((height, width), np.random.default_rng(seed)), (height, width))


def test_random_frames_are_wide_and_tall():
    frames = [random_frame((300, 300), np.random.default_rng(seed)) for seed in range(60)]
    aspects = [frame.width / frame.height for frame in frames]
    assert ASPECTS[0] <= min(aspects) < 0.7
    assert 1.5 < max(aspects) <= ASPECTS[1]


@given(height=st.integers(30, 300), width=st.integers(30, 300), seed=seeds)
def test_close_up_contains_part_of_the_person(height, width, seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
    mask[top : top + 8, left : left + 8] = 255
    window = close_up(mask, rng)
    assert_inside(window, (height, width))
    bottom, right = window.top + window.height, window.left + window.width
    rows = slice(int(np.ceil(window.top)), int(bottom) + 1)
    columns = slice(int(np.ceil(window.left)), int(right) + 1)
    assert mask[rows, columns].any()


def test_close_up_of_a_large_person_cuts_the_body():
    mask = np.zeros((200, 200), np.uint8)
    mask[20:200, 60:140] = 255
    sizes = [close_up(mask, np.random.default_rng(seed)).height for seed in range(20)]
    assert max(sizes) < 180


def test_photo_without_a_person_has_no_close_up():
    window = random_window(
        np.zeros((40, 60), np.uint8), replace(STILL, close_up=1), np.random.default_rng(0)
    )
    assert window == Window(0, 0, 40, 60)


@pytest.mark.parametrize("kind", ["framing", "close_up"])
def test_warp_with_crop_moves_photo_and_mask_together(kind):
    mask = np.random.default_rng(1).integers(0, 256, (90, 120), np.uint8)
    settings = replace(STILL, **{kind: 1.0})
    for seed in range(10):
        rgb, truth = warp(
            (np.dstack([mask] * 3), mask), (64, 64), settings, np.random.default_rng(seed)
        )
        assert np.abs(rgb.astype(int) - truth[..., None]).max() <= 1


def test_warp_with_random_frame_fills_the_input():
    mask = np.zeros((100, 100), np.uint8)
    mask[:, 50:] = 255
    rgb = np.dstack([mask] * 3)
    _, truth = warp((rgb, mask), (50, 50), replace(STILL, framing=1), np.random.default_rng(3))
    assert (np.diff(truth[25].astype(int)) >= -1).all(), "one edge, nothing is mirrored"
