"""Tests of trimaps: their levels, the width of the band, and the certain pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from silhouette_seg.vision.mask.trimap import make_trimap

masks = npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=2, max_side=24))


def half(hw: tuple[int, int] = (100, 200)) -> np.ndarray:
    """Returns a mask with the person on the right half."""
    alpha = np.zeros(hw, np.uint8)
    alpha[:, hw[1] // 2 :] = 255
    return alpha


@given(alpha=masks, band=st.floats(0, 10))
def test_trimap_has_three_levels_and_no_wrong_certainty(alpha, band):
    trimap = make_trimap(alpha, band)
    assert trimap.shape == alpha.shape
    assert set(np.unique(trimap)) <= {0, 128, 255}
    assert (alpha[trimap == 0] <= 10).all()
    assert (alpha[trimap == 255] >= 240).all()


@given(alpha=masks, band=st.floats(0, 9))
def test_wider_band_keeps_every_unknown_pixel(alpha, band):
    narrow, wide = make_trimap(alpha, band), make_trimap(alpha, band + 1)
    assert (wide[narrow == 128] == 128).all()


@pytest.mark.parametrize(("band", "pixels"), [(0, 0), (1, 1), (5, 5), (10, 10)])
def test_band_reaches_its_share_to_either_side(band, pixels):
    row = make_trimap(half(), band)[50]
    assert (row[: 100 - pixels] == 0).all()
    assert (row[100 - pixels : 100 + pixels] == 128).all()
    assert (row[100 + pixels :] == 255).all()


def test_edge_of_the_photo_is_no_outline():
    trimap = make_trimap(half(), 5)
    assert (trimap[:, 199] == 255).all()
    assert (trimap[[0, 99], 150] == 255).all()


def test_wide_band_of_a_large_photo_is_accurate():
    row = make_trimap(half((800, 1000)), 10)[400]
    assert np.flatnonzero(row == 128).min() == pytest.approx(420, abs=4)
    assert np.flatnonzero(row == 128).max() == pytest.approx(579, abs=4)


@pytest.mark.parametrize(("level", "expected"), [(0, 0), (128, 128), (255, 255)])
def test_trimap_of_a_plain_mask_is_plain(level, expected):
    assert (make_trimap(np.full((40, 60), level, np.uint8), 5) == expected).all()
