"""The visible share of transparent photos, and the outlines of cut-outs and avatars."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.vision.mask.opacity import (
    VisibleMask,
    is_concave,
    is_cut_out,
    limit_to_opacity,
    visible_share,
)
from tests.support.images import cut_out_person, soft_disc

LEVELS = st.integers(0, 255)


def level(value: int) -> np.ndarray:
    return np.full((1, 1), value, np.uint8)


@given(LEVELS, LEVELS)
def test_limited_share_is_the_lesser_of_mask_and_opacity(alpha, opacity):
    share = visible_share(level(alpha), level(opacity))
    assert abs(int(limit_to_opacity(share, level(opacity))[0, 0]) - min(alpha, opacity)) <= 0.5


@given(LEVELS, LEVELS)
def test_limited_share_is_never_above_the_opacity(share, opacity):
    assert limit_to_opacity(level(share), level(opacity))[0, 0] <= opacity


@given(LEVELS)
def test_share_of_opaque_and_clear_pixels_is_exact(alpha):
    assert visible_share(level(alpha), level(255))[0, 0] == alpha
    assert visible_share(level(alpha), level(0))[0, 0] == 0
    assert limit_to_opacity(level(255), level(alpha))[0, 0] == alpha


@pytest.mark.parametrize("side", [16, 40, 100, 448])
def test_avatar_outlines_are_convex_at_any_size(side):
    disc = soft_disc(side, side)
    square = np.zeros((side, side), np.uint8)
    square[side // 8 : -side // 8, side // 8 : -side // 8] = 255
    turned = cv2.fillConvexPoly(
        np.zeros((side, side), np.uint8),
        np.array([[side // 2, 0], [side - 1, side // 2], [side // 2, side - 1], [0, side // 2]]),
        255,
    )
    pair = np.hstack([disc, disc])
    for outline in (disc, square, turned, pair, np.full((side, side), 255, np.uint8)):
        assert not is_concave(outline)


@pytest.mark.parametrize("scale", [1, 2, 5])
def test_person_outline_is_concave(scale):
    assert is_concave(cut_out_person(96 * scale, 128 * scale)[..., 3])


def test_opacity_without_a_visible_pixel_is_not_concave():
    assert not is_concave(np.zeros((8, 8), np.uint8))


def test_cut_out_is_a_person_with_the_opacity_as_outline():
    opacity = cut_out_person()[..., 3]
    assert is_cut_out(opacity, opacity)
    assert not is_cut_out(np.zeros_like(opacity), opacity)
    half = opacity.copy()
    half[:, 64:] = 0
    assert not is_cut_out(half, opacity)


def test_avatar_is_not_a_cut_out_even_if_all_is_person():
    disc = soft_disc(96, 128)
    assert not is_cut_out(np.full_like(disc, 255), disc)


def test_cut_out_keeps_what_the_model_rejects():
    opacity = cut_out_person()[..., 3]
    belt = opacity.copy()
    belt[67:76] = 0
    visible = VisibleMask.of(belt, opacity)
    assert visible.cut_out
    enlarged = visible.enlarged(belt)
    assert (enlarged == np.where(opacity > 0, 255, 0)).all()


def test_enlarged_mask_is_empty_where_the_photo_is_clear():
    disc = soft_disc(96, 128)
    visible = VisibleMask.of(np.full((24, 32), 200, np.uint8), disc)
    enlarged = visible.enlarged(np.full((192, 256), 200, np.uint8))
    clear = cv2.resize(disc, (256, 192)) == 0
    assert (enlarged[clear] == 0).all()
    assert (enlarged[~clear] == 200).all()


def test_opaque_photo_keeps_its_mask():
    mask = np.arange(64, dtype=np.uint8).reshape(8, 8)
    visible = VisibleMask.of(mask, None)
    assert visible.mask is mask
    assert visible.enlarged(mask) is mask
    assert not visible.cut_out
