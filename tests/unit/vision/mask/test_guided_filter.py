"""Tests of edge refinement: it changes uncertain pixels of the mask only."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings

from silhouette_seg.vision.mask import guided_filter
from silhouette_seg.vision.mask.boundary_tiles import Grid, make_grid, pad_cells, tiles_near
from silhouette_seg.vision.mask.guided_filter import refine_edges
from tests.support.images import person
from tests.unit.vision.masked import photos


def noisy(colour, hw, seed=0):
    chance = np.random.default_rng(seed)
    return np.clip(np.array(colour) + chance.normal(0, 6, (*hw, 3)), 0, 255)


def predicted(truth, longer=48):
    """Reduces and enlarges a mask, which makes it as soft as a small model's prediction."""
    height, width = truth.shape
    scale = longer / max(truth.shape)
    small = cv2.resize(truth, (round(width * scale), round(height * scale)), interpolation=3)
    return cv2.resize(small, (width, height))


def disc(hw=(240, 320), radius=80):
    truth = np.zeros(hw, np.uint8)
    cv2.circle(truth, (hw[1] // 2, hw[0] // 2), radius, 255, -1, cv2.LINE_AA)
    return truth


def scene(truth, inside=(200, 150, 120), outside=(40, 80, 160)):
    weight = truth[..., None] / 255
    photo = noisy(inside, truth.shape, 1) * weight + noisy(outside, truth.shape, 2) * (1 - weight)
    return photo.astype(np.uint8)


def error(alpha, truth):
    return np.abs(alpha.astype(int) - truth).mean()


@settings(max_examples=30, deadline=None)
@given(photos())
def test_refine_edges_keeps_shape_and_inputs(photo):
    rgb, alpha = photo
    before = rgb.copy(), alpha.copy()
    refined = refine_edges(rgb, alpha)
    assert (refined.shape, refined.dtype) == (alpha.shape, np.uint8)
    np.testing.assert_array_equal(rgb, before[0])
    np.testing.assert_array_equal(alpha, before[1])
    assert not np.shares_memory(refined, alpha)


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("hw", [(1, 1), (1, 700), (700, 1), (240, 320)])
def test_certain_mask_is_unchanged(hw, level):
    alpha = np.full(hw, level, np.uint8)
    np.testing.assert_array_equal(refine_edges(person(*hw), alpha), alpha)


@pytest.mark.parametrize("hw", [(240, 320), (600, 900)])
def test_soft_outline_moves_closer_to_the_photo(hw):
    truth = disc(hw, radius=hw[0] // 3)
    soft = predicted(truth)
    assert error(refine_edges(scene(truth), soft), truth) < 0.25 * error(soft, truth)


def test_shifted_outline_moves_closer_to_the_photo():
    truth = disc()
    shifted = np.roll(predicted(truth, 96), 2, axis=1)
    assert error(refine_edges(scene(truth), shifted), truth) < 0.5 * error(shifted, truth)


def test_pixels_far_from_the_outline_are_unchanged():
    truth = disc()
    soft = predicted(truth)
    refined = refine_edges(person(), soft)
    uncertain = (
        (soft >= guided_filter.MIN_UNCERTAIN) & (soft <= guided_filter.MAX_UNCERTAIN)
    ).astype(np.uint8)
    far = cv2.dilate(uncertain, np.ones((13, 13), np.uint8)) == 0
    assert far.mean() > 0.3
    assert (refined != soft).any()
    np.testing.assert_array_equal(refined[far], soft[far])


def test_thin_limb_survives_where_colours_are_alike():
    """The published guided filter would average the limb away."""
    truth = np.zeros((240, 320), np.uint8)
    truth[:, 156:162] = 255
    soft = predicted(truth, 160)
    photo = scene(truth, inside=(90, 90, 90), outside=(90, 90, 90))
    refined = refine_edges(photo, soft)
    assert np.abs(refined.astype(int) - soft).mean() < 0.1 * soft.mean()
    assert (refined[:, 158] > 127).mean() > 0.99


@pytest.mark.parametrize("hw", [(300, 400), (611, 907), (97, 1400)])
def test_tiled_refinement_equals_the_untiled_one(hw, monkeypatch):
    truth = disc(hw, radius=min(hw) // 3)
    photo, soft = scene(truth), predicted(truth)
    tiled = refine_edges(photo, soft)
    for limit in ("TILE_HEIGHT", "MAX_TILE_WIDTH", "MAX_GAP_CELLS"):
        monkeypatch.setattr(f"silhouette_seg.vision.mask.boundary_tiles.{limit}", 10_000)
    # Tiles may round the last bit of a float differently.
    assert np.abs(tiled.astype(int) - refine_edges(photo, soft)).max() <= 1


@pytest.mark.parametrize("hw", [(1, 1), (3, 2000), (600, 900), (517, 513), (250, 250)])
def test_tiles_cover_every_pixel_once(hw):
    grid = make_grid(hw, 192)
    visits = np.zeros(hw, int)
    for tile in tiles_near(grid, np.ones(grid.size_hw, np.uint8)):
        visits[tile.pixels] += 1
    assert (visits == 1).all()


def test_tiles_near_yields_only_marked_tiles():
    grid = Grid((1000, 1000), 4)
    marked = np.zeros(grid.size_hw, np.uint8)
    marked[100, 200] = 1
    (tile,) = tiles_near(grid, marked)
    rows, columns = tile.pixels
    assert rows.start <= 400 < rows.stop
    assert columns.start <= 800 < columns.stop


def test_upsampled_tile_equals_the_upsampled_whole():
    grid = Grid((600, 900), 6)
    values = np.random.default_rng(0).random(grid.size_hw, np.float32)
    whole = cv2.resize(values, (900, 600))
    for tile in tiles_near(grid, np.ones(grid.size_hw, np.uint8)):
        np.testing.assert_allclose(tile.upsample(pad_cells(values)), whole[tile.pixels], atol=1e-6)
