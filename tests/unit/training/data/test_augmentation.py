"""Tests of augmentation: aligned masks, the meaning of each setting, and seeds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.made_data import make_portrait
from training.data.augmentation import Augmentation, compose, distort, random_crop, warp

Image = NDArray[np.uint8]

STILL = Augmentation(
    scale=(1, 1),
    aspect=0,
    rotation=0,
    flip=0,
    colour=0,
    gamma=0,
    hue=0,
    grey=0,
    blur=0,
    noise=0,
    jpeg=0,
    composite=0,
    empty=0,
)

sides = st.integers(2, 70)
sizes = st.tuples(sides, sides)
seeds = st.integers(0, 2**32)
strengths = st.builds(
    Augmentation,
    scale=st.sampled_from([(1.0, 1.0), (0.5, 0.5), (0.7, 1.6), (2.0, 2.0)]),
    aspect=st.floats(0, 0.5),
    rotation=st.floats(0, 180),
    flip=st.sampled_from([0.0, 0.5, 1.0]),
)


def noise(size_hw: tuple[int, int], seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, size_hw, np.uint8)


@given(photo_hw=sizes, size_hw=sizes, augmentation=strengths, seed=seeds)
def test_warp_keeps_a_painted_mask_aligned_with_the_image(photo_hw, size_hw, augmentation, seed):
    mask = noise(photo_hw, seed)
    rgb_mask = np.dstack([mask, mask, mask])
    rgb, truth = warp((rgb_mask, mask), size_hw, augmentation, np.random.default_rng(seed))
    assert rgb.shape == (*size_hw, 3)
    assert truth.shape == size_hw
    assert rgb.dtype == truth.dtype == np.uint8
    # one and three channels may be rounded by different machine code
    assert np.abs(rgb.astype(int) - truth[..., None]).max() <= 1


@given(size_hw=sizes, seed=seeds)
def test_warp_without_strength_changes_nothing(size_hw, seed):
    rgb, mask = noise((*size_hw, 3), seed), noise(size_hw, seed + 1)
    warped, truth = warp((rgb, mask), size_hw, STILL, np.random.default_rng(seed))
    np.testing.assert_array_equal(warped, rgb)
    np.testing.assert_array_equal(truth, mask)


def test_warp_with_flip_alone_mirrors_the_photo():
    rgb, mask = make_portrait(0)
    warped, truth = warp((rgb, mask), mask.shape, replace(STILL, flip=1), np.random.default_rng(0))
    np.testing.assert_array_equal(warped, rgb[:, ::-1])
    np.testing.assert_array_equal(truth, mask[:, ::-1])


def test_random_affine_without_strength_reaches_all_borders():
    mask = np.zeros((40, 80), np.uint8)
    mask[:20, :40] = 255
    _, truth = warp((np.dstack([mask] * 3), mask), (60, 60), STILL, np.random.default_rng(0))
    assert (truth[:29, :29] == 255).all()
    assert (truth[31:] == 0).all()
    assert (truth[:, 31:] == 0).all()


@pytest.mark.parametrize("zoom", [0.8, 1.25])
def test_random_affine_scales_the_person_at_a_random_position(zoom):
    mask = np.zeros((200, 200), np.uint8)
    mask[70:130, 70:130] = 255
    zoomed = replace(STILL, scale=(zoom, zoom))
    tops = set()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        _, truth = warp((np.dstack([mask] * 3), mask), (200, 200), zoomed, rng)
        rows, columns = np.nonzero(truth > 127)
        assert np.ptp(rows) + 1 == pytest.approx(60 * zoom, abs=1)
        assert np.ptp(columns) + 1 == pytest.approx(60 * zoom, abs=1)
        tops.add(rows.min())
    assert len(tops) > 2


def test_random_affine_aspect_trades_height_for_width():
    mask = np.zeros((200, 200), np.uint8)
    mask[50:150, 50:150] = 255
    squeezed = replace(STILL, aspect=0.5)
    ratios = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        _, truth = warp((np.dstack([mask] * 3), mask), (200, 200), squeezed, rng)
        rows, columns = np.nonzero(truth > 127)
        tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert tall * wide == pytest.approx(100 * 100, rel=0.03)
        ratios.append(tall / wide)
    assert 1 / 1.53 < min(ratios) < 0.95
    assert 1.05 < max(ratios) < 1.53


def test_warp_mirrors_photo_and_mask_outside_the_photo():
    mask = np.full((30, 30), 255, np.uint8)
    small = replace(STILL, scale=(0.5, 0.5), rotation=180)
    _, truth = warp((np.dstack([mask] * 3), mask), (30, 30), small, np.random.default_rng(0))
    assert (truth == 255).all()


@given(seed=seeds)
def test_compose_with_hard_mask_copies_person_and_background(seed):
    rng = np.random.default_rng(seed)
    rgb, background = noise((9, 11, 3), seed), noise((9, 11, 3), seed + 1)
    mask = rng.choice(np.array([0, 60, 255], np.uint8), (9, 11))
    pasted, alpha = compose(rgb, mask, background)
    person = mask == 255
    np.testing.assert_array_equal(pasted[person], rgb[person])
    np.testing.assert_array_equal(pasted[~person], background[~person])
    np.testing.assert_array_equal(alpha, np.where(person, 255, 0))


def test_compose_tightens_the_rim_and_stays_monotone():
    mask = np.arange(256, dtype=np.uint8)[None]
    white, black = np.full((1, 256, 3), 255, np.uint8), np.zeros((1, 256, 3), np.uint8)
    pasted, alpha = compose(white, mask, black)
    assert (alpha <= mask).all()
    assert (np.diff(alpha[0].astype(int)) >= 0).all()
    assert np.abs(pasted[..., 0].astype(int) - alpha).max() <= 1


def test_distort_without_strength_keeps_the_colours():
    rgb, _ = make_portrait(0)
    for seed in range(20):
        distorted = distort(rgb, STILL, np.random.default_rng(seed))
        # to hue and back rounds
        assert np.abs(distorted.astype(int) - rgb).max() <= 6


@given(size_hw=st.tuples(st.integers(8, 40), st.integers(8, 40)), seed=seeds)
def test_distort_keeps_the_size_and_its_input(size_hw, seed):
    rgb = noise((*size_hw, 3), seed)
    before = rgb.copy()
    strong = Augmentation(blur=0.5, noise=0.5, jpeg=0.5, grey=0.3)
    distorted = distort(rgb, strong, np.random.default_rng(seed))
    assert distorted.shape == rgb.shape
    assert distorted.dtype == np.uint8
    np.testing.assert_array_equal(rgb, before)


def test_distort_to_grey_yields_equal_channels():
    rgb, _ = make_portrait(0)
    grey = distort(rgb, replace(STILL, grey=1), np.random.default_rng(0))
    np.testing.assert_array_equal(grey[..., 0], grey[..., 1])
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


@pytest.mark.parametrize("kind", ["colour", "gamma", "hue", "sharpness", "blur", "noise", "jpeg"])
def test_distort_with_a_single_distortion_changes_the_image(kind):
    rgb, _ = make_portrait(0)
    strength = {"colour": 0.4, "gamma": 0.5, "hue": 20}.get(kind, 1)
    pairs = [
        [
            distort(rgb, settings, np.random.default_rng(seed))
            for settings in (STILL, replace(STILL, **{kind: strength}))
        ]
        for seed in range(8)
    ]
    assert any(not np.array_equal(still, distorted) for still, distorted in pairs)


@given(photo_hw=sizes, size_hw=sizes, seed=seeds)
def test_random_crop_has_the_requested_size_and_existing_colours(photo_hw, size_hw, seed):
    photo = noise((*photo_hw, 3), seed)
    before = photo.copy()
    crop = random_crop(photo, size_hw, np.random.default_rng(seed))
    assert crop.shape == (*size_hw, 3)
    assert crop.dtype == np.uint8
    assert photo.min() <= crop.min() <= crop.max() <= photo.max()
    np.testing.assert_array_equal(photo, before)


@given(seed=seeds)
def test_augmentation_is_a_function_of_its_seed(seed):
    rgb, mask = make_portrait(seed % 7)

    def everything(seed: int) -> tuple[Image, Image]:
        rng = np.random.default_rng(seed)
        warped, truth = warp((rgb, mask), (32, 40), Augmentation(), rng)
        pasted, alpha = compose(warped, truth, random_crop(rgb, (32, 40), rng))
        return distort(pasted, Augmentation(), rng), alpha

    for one, same in zip(everything(seed), everything(seed), strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(everything(seed)[0], everything(seed + 1)[0])
