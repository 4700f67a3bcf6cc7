"""Tests of simulated light and cameras: effect, shape, and an unchanged input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.made_data import make_portrait
from training.data.photometric import backlight, darken, lower_resolution

seeds = st.integers(0, 2**32)


@given(seed=seeds, size_hw=st.tuples(st.integers(8, 50), st.integers(8, 50)))
def test_photometric_distortion_keeps_shape_and_input(seed, size_hw):
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (*size_hw, 3), np.uint8)
    mask = rng.integers(0, 256, size_hw, np.uint8)
    before, mask_before = rgb.copy(), mask.copy()
    for changed in (darken(rgb, rng), backlight(rgb, mask, rng), lower_resolution(rgb, rng)):
        assert changed.shape == rgb.shape
        assert changed.dtype == np.uint8
    np.testing.assert_array_equal(rgb, before)
    np.testing.assert_array_equal(mask, mask_before)


@pytest.mark.parametrize("seed", range(5))
def test_darken_yields_a_darker_photo(seed):
    rgb, _ = make_portrait(seed)
    assert darken(rgb, np.random.default_rng(seed)).mean() < 0.75 * rgb.mean()


@pytest.mark.parametrize("seed", range(5))
def test_backlight_darkens_the_person_and_brightens_the_background(seed):
    rgb, mask = make_portrait(seed)
    lit = backlight(rgb, mask, np.random.default_rng(seed))
    assert lit[mask == 255].mean() < 0.75 * rgb[mask == 255].mean()
    assert lit[mask == 0].mean() > 1.1 * rgb[mask == 0].mean()


@pytest.mark.parametrize("seed", range(5))
def test_enlarge_again_loses_detail_and_keeps_colours(seed):
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (64, 64, 3), np.uint8)
    blurred = lower_resolution(rgb, rng)
    assert blurred.std() < 0.8 * rgb.std()
    assert np.abs(blurred.mean((0, 1)) - rgb.mean((0, 1))).max() < 12
