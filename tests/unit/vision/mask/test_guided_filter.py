"""The photo's own edges reach the mask where it was undecided, and nowhere else."""

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


def as_a_model_sees(truth, longer=48):
    """Reduced and enlarged again: soft by as much as a small model makes a large photo."""
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
def test_any_size_keeps_its_shape_and_its_inputs(photo):
    rgb, alpha = photo
    before = rgb.copy(), alpha.copy()
    refined = refine_edges(rgb, alpha)
    assert (refined.shape, refined.dtype) == (alpha.shape, np.uint8)
    np.testing.assert_array_equal(rgb, before[0])
    np.testing.assert_array_equal(alpha, before[1])
    assert not np.shares_memory(refined, alpha)


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("hw", [(1, 1), (1, 700), (700, 1), (240, 320)])
def test_a_decided_mask_stays(hw, level):
    alpha = np.full(hw, level, np.uint8)
    np.testing.assert_array_equal(refine_edges(person(*hw), alpha), alpha)


@pytest.mark.parametrize("hw", [(240, 320), (600, 900)])
def test_an_outline_comes_much_closer_to_the_photo(hw):
    truth = disc(hw, radius=hw[0] // 3)
    soft = as_a_model_sees(truth)
    assert error(refine_edges(scene(truth), soft), truth) < 0.25 * error(soft, truth)


def test_an_outline_that_is_out_of_place_moves_to_the_photo():
    truth = disc()
    late = np.roll(as_a_model_sees(truth, 96), 2, axis=1)
    assert error(refine_edges(scene(truth), late), truth) < 0.5 * error(late, truth)


def test_pixels_far_from_the_outline_stay():
    truth = disc()
    soft = as_a_model_sees(truth)
    refined = refine_edges(person(), soft)
    uncertain = (
        (soft >= guided_filter.MIN_UNCERTAIN) & (soft <= guided_filter.MAX_UNCERTAIN)
    ).astype(np.uint8)
    far = cv2.dilate(uncertain, np.ones((13, 13), np.uint8)) == 0
    assert far.mean() > 0.3
    assert (refined != soft).any()
    np.testing.assert_array_equal(refined[far], soft[far])


def test_where_colours_are_alike_a_thin_limb_stays():
    """The guided filter by itself would average it away."""
    truth = np.zeros((240, 320), np.uint8)
    truth[:, 156:162] = 255
    soft = as_a_model_sees(truth, 160)
    photo = scene(truth, inside=(90, 90, 90), outside=(90, 90, 90))
    refined = refine_edges(photo, soft)
    assert np.abs(refined.astype(int) - soft).mean() < 0.1 * soft.mean()
    assert (refined[:, 158] > 127).mean() > 0.99


@pytest.mark.parametrize("hw", [(300, 400), (611, 907), (97, 1400)])
def test_tiles_give_what_the_whole_would(hw, monkeypatch):
    truth = disc(hw, radius=min(hw) // 3)
    photo, soft = scene(truth), as_a_model_sees(truth)
    tiled = refine_edges(photo, soft)
    monkeypatch.setattr("silhouette_seg.vision.mask.boundary_tiles.TILE_PIXELS", 10_000)
    # a convolution by blocks may round the last bit of a float another way
    assert np.abs(tiled.astype(int) - refine_edges(photo, soft)).max() <= 1


@pytest.mark.parametrize("hw", [(1, 1), (3, 2000), (600, 900), (517, 513), (250, 250)])
def test_tiles_cover_a_photo_once(hw):
    cells = make_grid(hw, 192)
    seen = np.zeros(hw, int)
    for tile in tiles_near(cells, np.ones(cells.size_hw, np.uint8)):
        seen[tile.pixels] += 1
    assert (seen == 1).all()


def test_tiles_are_only_where_something_is_wanted():
    cells = Grid((1000, 1000), 4)
    wanted = np.zeros(cells.size_hw, np.uint8)
    wanted[100, 200] = 1
    (tile,) = tiles_near(cells, wanted)
    rows, columns = tile.pixels
    assert rows.start <= 400 < rows.stop
    assert columns.start <= 800 < columns.stop


def test_a_tile_enlarges_as_the_whole_photo_would():
    cells = Grid((600, 900), 6)
    values = np.random.default_rng(0).random(cells.size_hw, np.float32)
    whole = cv2.resize(values, (900, 600))
    for tile in tiles_near(cells, np.ones(cells.size_hw, np.uint8)):
        np.testing.assert_allclose(tile.upsample(pad_cells(values)), whole[tile.pixels], atol=1e-6)
