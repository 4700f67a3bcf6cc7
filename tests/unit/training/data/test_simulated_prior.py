"""Tests of simulated previous masks: half are empty, the others are near the mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.made_data import make_portrait
from training.data.simulated_prior import _motion_blur_kernel, previous_mask

MASK = make_portrait(5)[1]
COUNT = 400


@pytest.fixture(scope="module")
def priors() -> list[np.ndarray]:
    return [previous_mask(MASK, np.random.default_rng(seed)) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def nonempty_priors(priors):
    return [prior for prior in priors if prior.any()]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one > 127, other > 127
    return float((one & other).sum() / (one | other).sum())


def centre(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask > 127).mean(0)


def test_previous_mask_keeps_size_and_type(priors):
    assert {(prior.shape, prior.dtype) for prior in priors} == {(MASK.shape, np.dtype(np.uint8))}


def test_previous_mask_is_empty_half_of_the_time(priors, nonempty_priors):
    # four standard deviations of a fair coin
    assert abs(len(nonempty_priors) - COUNT / 2) < 4 * np.sqrt(COUNT / 4)


def test_previous_mask_overlaps_the_mask_inexactly(nonempty_priors):
    overlaps = [overlap(prior, MASK) for prior in nonempty_priors]
    assert min(overlaps) > 0.6
    assert 0.8 < np.mean(overlaps) < 0.97
    assert max(overlaps) < 1


def test_previous_mask_grows_shrinks_and_moves_in_all_directions(nonempty_priors):
    shifts = np.array([centre(prior) - centre(MASK) for prior in nonempty_priors])
    assert (shifts.min(0) < -1).all()
    assert (shifts.max(0) > 1).all()
    assert np.abs(shifts.mean(0)).max() < 0.5, "no way is preferred"
    areas = [(prior > 127).sum() / (MASK > 127).sum() for prior in nonempty_priors]
    assert min(areas) < 0.95
    assert max(areas) > 1.05


def test_previous_mask_is_blurred_in_half_of_the_cases(nonempty_priors):
    """A moved mask keeps a narrow rim; a streak as long as a tenth of the side widens it."""
    rims = [((prior > 25) & (prior < 230)).sum() for prior in nonempty_priors]
    sharp = ((MASK > 25) & (MASK < 230)).sum()
    blurred = np.mean([rim > 2 * sharp for rim in rims])
    assert 0.25 < blurred < 0.6


def test_previous_mask_is_a_function_of_its_seed():
    for seed in range(20):
        one, same = (previous_mask(MASK, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(one, same)


def test_previous_mask_leaves_its_input_unchanged():
    before = MASK.copy()
    for seed in range(20):
        previous_mask(MASK, np.random.default_rng(seed))
    np.testing.assert_array_equal(MASK, before)


def test_previous_mask_of_an_empty_mask_is_empty():
    empty_mask = np.zeros((32, 48), np.uint8)
    assert not any(
        previous_mask(empty_mask, np.random.default_rng(seed)).any() for seed in range(20)
    )


@given(side=st.integers(16, 1024), seed=st.integers(0, 2**32))
def test_motion_streak_keeps_brightness_and_has_published_lengths(side, seed):
    kernel = _motion_blur_kernel(side, np.random.default_rng(seed))
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert kernel.min() >= 0
    assert max(2, round(side * 5 / 224)) <= len(kernel) <= max(2, round(side * 30 / 224))


@given(seed=st.integers(0, 2**32))
def test_motion_streak_is_a_straight_line(seed):
    kernel = _motion_blur_kernel(224, np.random.default_rng(seed))
    points = np.argwhere(kernel > 0)
    weights = kernel[kernel > 0]
    centred = points - np.average(points, axis=0, weights=weights)
    spread = np.linalg.eigvalsh(np.cov(centred.T, aweights=weights, ddof=0))
    assert spread[0] < 0.6, "thin one way"
    assert spread[1] > len(kernel) ** 2 / 24, "long the other"
