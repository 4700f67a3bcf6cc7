"""Tests of the foreground estimate: a cut-out keeps no colour of its background."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings

from silhouette_seg.vision.compose.foreground import estimate_foreground
from tests.support.images import person
from tests.unit.vision.masked import photos


def soft_disc(hw):
    alpha = np.zeros(hw, np.uint8)
    cv2.circle(alpha, (hw[1] // 2, hw[0] // 2), min(hw) // 3, 255, -1)
    return cv2.GaussianBlur(alpha, (0, 0), min(hw) / 100)


def over(own, alpha, background):
    share = alpha[..., None] / 255
    return np.rint(own * share + np.array(background) * (1 - share)).astype(np.uint8)


def mixed(alpha):
    return (alpha > 0) & (alpha < 255)


def error(colours, own, alpha):
    """Returns the mean difference in levels over mixed pixels, weighted by alpha."""
    weight = alpha * mixed(alpha)
    difference = np.abs(colours.astype(int) - own).mean(2)
    return (difference * weight).sum() / weight.sum()


@settings(max_examples=30, deadline=None)
@given(photos())
def test_estimate_keeps_shape_inputs_and_certain_pixels(photo):
    rgb, alpha = photo
    before = rgb.copy(), alpha.copy()
    clean = estimate_foreground(rgb, alpha)
    assert (clean.shape, clean.dtype) == (rgb.shape, np.uint8)
    certain = ~mixed(alpha)
    np.testing.assert_array_equal(clean[certain], rgb[certain])
    np.testing.assert_array_equal(rgb, before[0])
    np.testing.assert_array_equal(alpha, before[1])
    assert not np.shares_memory(clean, rgb)
    assert estimate_foreground(rgb, alpha, in_place=True) is rgb
    np.testing.assert_array_equal(rgb, clean)


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("hw", [(1, 1), (1, 700), (700, 1), (240, 320)])
def test_certain_mask_leaves_photo_unchanged(hw, level):
    photo = person(*hw)
    np.testing.assert_array_equal(estimate_foreground(photo, np.full(hw, level, np.uint8)), photo)


@pytest.mark.parametrize("hw", [(240, 320), (720, 960)])
@pytest.mark.parametrize("background", [(0, 255, 0), (250, 250, 250), (10, 10, 30)])
def test_plain_person_loses_background_colour(hw, background):
    alpha = soft_disc(hw)
    own = np.broadcast_to(np.array((170, 120, 90), np.uint8), (*hw, 3))
    photo = over(own, alpha, background)
    assert error(estimate_foreground(photo, alpha), own, alpha) < 0.2 * error(photo, own, alpha)


def test_portrait_loses_most_of_background_colour():
    own, alpha = person(480, 640), soft_disc((480, 640))
    photo = over(own, alpha, (0, 255, 0))
    assert error(estimate_foreground(photo, alpha), own, alpha) < 0.5 * error(photo, own, alpha)


def test_cutout_on_new_background_has_no_old_colours():
    """The cut-out over magenta is close to the true person over magenta."""
    own, alpha = person(480, 640), soft_disc((480, 640))
    photo, magenta = over(own, alpha, (0, 255, 0)), (255, 0, 255)
    expected = over(own, alpha, magenta).astype(int)[mixed(alpha)]
    shown = over(estimate_foreground(photo, alpha), alpha, magenta)[mixed(alpha)]
    before = over(photo, alpha, magenta)[mixed(alpha)]
    assert np.abs(shown - expected).mean() < 0.5 * np.abs(before - expected).mean()


def test_mask_without_certain_pixels_keeps_colours():
    alpha = np.full((90, 120), 128, np.uint8)
    photo = np.full((90, 120, 3), 77, np.uint8)
    assert np.abs(estimate_foreground(photo, alpha).astype(int) - 77).max() <= 1


def test_single_faint_pixel_does_not_become_black():
    alpha = np.zeros((400, 400), np.uint8)
    alpha[200:203, 200:203] = 40
    photo = np.full((400, 400, 3), 200, np.uint8)
    assert estimate_foreground(photo, alpha)[201, 201].min() > 150


def test_tiles_match_estimate_of_whole_photo(monkeypatch):
    photo, alpha = person(611, 907), soft_disc((611, 907))
    tiled = estimate_foreground(photo, alpha)
    for limit in ("TILE_HEIGHT", "MAX_TILE_WIDTH", "MAX_GAP_CELLS"):
        monkeypatch.setattr(f"silhouette_seg.vision.mask.boundary_tiles.{limit}", 10_000)
    shown = alpha > 0
    difference = tiled[shown].astype(int) - estimate_foreground(photo, alpha)[shown]
    # cv2 may round the last bit differently in blocks of another size.
    assert np.abs(difference).max() <= 2
