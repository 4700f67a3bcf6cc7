import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from silhouette_seg.vision.compose.blend import (
    blurred,
    composite,
    cutout,
    light_wrap,
    remove_white,
    resize_to_cover,
    solid,
)
from tests.support.images import person, quadrants

alphas = npst.arrays(np.uint8, st.tuples(st.integers(1, 150), st.integers(1, 30)))


@st.composite
def scenes(draw):
    alpha = draw(alphas)
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    rgb, background = chance.integers(0, 256, (2, *alpha.shape, 3)).astype(np.uint8)
    return rgb, alpha, background


@given(scenes())
def test_cutout_joins_colour_and_alpha(scene):
    rgb, alpha, _ = scene
    rgba = cutout(rgb, alpha)
    np.testing.assert_array_equal(rgba[..., 3], alpha)
    np.testing.assert_array_equal(rgba[..., :3], np.where(alpha[..., None] > 0, rgb, 0))


@given(scenes())
def test_composite_is_within_one_level_and_keeps_inputs(scene):
    rgb, alpha, background = scene
    before = [array.copy() for array in scene]
    blended = composite(rgb, alpha, background)
    share = alpha[..., None] / 255
    exact = rgb * share + background * (1 - share)
    assert np.abs(blended - exact).max() <= 1
    np.testing.assert_array_equal(blended[alpha == 255], rgb[alpha == 255])
    np.testing.assert_array_equal(blended[alpha == 0], background[alpha == 0])
    for array, copy in zip(scene, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@given(scenes())
def test_composite_in_place_overwrites_background(scene):
    rgb, alpha, background = scene
    expected = composite(rgb, alpha, background)
    blended = composite(rgb, alpha, background, in_place=True)
    assert blended is background
    np.testing.assert_array_equal(blended, expected)


def test_composite_of_hard_mask_selects_person_or_background():
    alpha = np.zeros((240, 320), np.uint8)
    alpha[40:230, 100:220] = 255
    green = solid((240, 320), (0, 255, 0))
    blended = composite(person(), alpha, green)
    np.testing.assert_array_equal(blended, np.where(alpha[..., None] > 0, person(), green))


def test_solid_image_is_rgb():
    assert solid((2, 3), (1, 2, 3)).tolist() == [[[1, 2, 3]] * 3] * 2


def test_blurred_photo_loses_detail_and_keeps_mean():
    soft = blurred(person(), 3)
    assert soft.shape == person().shape
    assert np.abs(np.diff(soft.astype(int), axis=1)).mean() < 2
    np.testing.assert_allclose(soft.mean((0, 1)), person().mean((0, 1)), atol=2)


def test_blurred_at_reduced_size_matches_full_kernel():
    """Compares with a Gaussian of numpy, away from the border."""
    step = np.zeros((200, 400, 3), np.uint8)
    step[:, 200:] = 200
    sigma = 16.0
    offsets = np.arange(-100, 101)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    exact = np.convolve(step[0, :, 0], kernel / kernel.sum(), mode="same")
    soft = blurred(step, 8.0)[100, :, 1]
    assert np.abs(soft[120:280] - exact[120:280]).max() < 5


def test_blurred_with_radius_zero_is_copy():
    same = blurred(person(), 0)
    np.testing.assert_array_equal(same, person())
    assert not np.shares_memory(same, person())


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 60, 3), (60, 1, 3), (2, 3, 3)])
@pytest.mark.parametrize("percent", [0.1, 3, 100, 1000])
def test_blurred_tiny_and_narrow_images_keep_their_level(shape, percent):
    assert (blurred(np.full(shape, 77, np.uint8), percent) == 77).all()


def red_on_blue(height: int, width: int, softness: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns a red disc on blue and its mask. Colours mix over `softness` pixels."""
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(rows - height / 2, columns - width / 2) - height / 4
    share = np.clip(0.5 - distance / (softness or 1e-6), 0, 1)[..., None]
    rgb = RED * share + BLUE * (1 - share)
    return rgb.round().astype(np.uint8), (share[..., 0] * 255).round().astype(np.uint8)


RED, BLUE = np.array([255, 0, 0]), np.array([0, 0, 255])


@pytest.mark.parametrize("softness", [0, 4, 20])
@pytest.mark.parametrize("percent", [0.2, 1, 3, 10])
def test_blurred_background_has_no_glow_of_person(percent, softness):
    rgb, alpha = red_on_blue(360, 480, softness)
    plain, around = blurred(rgb, percent), blurred(rgb, percent, alpha)
    behind = alpha == 0
    assert around[behind][:, 0].max() <= (6 if softness else 3)
    assert around[behind][:, 2].min() >= (249 if softness else 252)
    if percent > 1:
        assert plain[behind][:, 0].max() > 50, "a plain blur has a glow"
    # If the person is moved, no trace of them is visible at the old place.
    assert around[..., 0].max() <= 12


def test_blurred_background_of_hard_mask_has_no_mixed_colours():
    """The edge in the photo is soft; the mask cuts it in the middle."""
    rgb, alpha = red_on_blue(720, 960, softness=4)
    hard = np.where(alpha > 127, 255, 0).astype(np.uint8)
    for percent in (0.1, 1, 3):
        assert blurred(rgb, percent, hard)[..., 0].max() <= 3


def test_blurred_background_far_from_person_is_plain_blur():
    alpha = np.zeros((240, 320), np.uint8)
    alpha[80:160, 10:60] = 255
    plain, around = blurred(person(), 3), blurred(person(), 3, alpha)
    np.testing.assert_array_equal(around[:, 120:], plain[:, 120:])
    assert np.abs(around[80:160, 60:80].astype(int) - plain[80:160, 60:80]).max() > 5


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("percent", [0.1, 1, 3, 25])
def test_blurred_with_empty_or_full_mask_is_plain_blur(percent, level):
    alpha = np.full((240, 320), level, np.uint8)
    np.testing.assert_array_equal(blurred(person(), percent, alpha), blurred(person(), percent))


@given(scenes(), st.sampled_from([0.0, 0.5, 5, 100, 1000]))
def test_blurred_colours_stay_within_range_of_photo(scene, percent):
    rgb, alpha, _ = scene
    soft = blurred(rgb, percent, alpha)
    assert soft.shape == rgb.shape
    assert soft.dtype == np.uint8
    assert (soft.min((0, 1)) >= rgb.min((0, 1)).astype(int) - 3).all()
    assert (soft.max((0, 1)) <= rgb.max((0, 1)).astype(int) + 3).all()


def test_light_wrap_brightens_only_rim_of_person():
    rgb, alpha = red_on_blue(400, 600)
    wrapped = light_wrap(rgb, alpha, solid((400, 600), (255, 255, 255)), 100)
    middle = wrapped[200, 300:400].astype(int)
    assert (middle[:70] == RED).all()
    assert (np.diff(middle[:, 1]) >= 0).all(), "light increases towards the outline"
    assert 60 < middle[98, 1] < 130
    assert (wrapped[alpha > 0] >= rgb[alpha > 0]).all()


def test_light_wrap_has_colour_of_nearby_background():
    rgb, alpha = np.full((200, 300, 3), 60, np.uint8), np.zeros((200, 300), np.uint8)
    alpha[:, 100:200] = 255
    scene = solid((200, 300), (0, 200, 0))
    scene[:, 150:] = (200, 0, 0)
    wrapped = light_wrap(rgb, alpha, scene, 60)
    left, right = wrapped[100, 100], wrapped[100, 199]
    assert left[1] > 90
    assert left[0] == left[2] == 60
    assert right[0] > 90
    assert right[1] == right[2] == 60


def test_light_wrap_without_light_changes_nothing():
    rgb, alpha = red_on_blue(120, 160, 6)
    black = solid((120, 160), (0, 0, 0))
    np.testing.assert_array_equal(
        composite(light_wrap(rgb, alpha, black, 100), alpha, black), composite(rgb, alpha, black)
    )
    assert light_wrap(rgb, alpha, solid((120, 160), (255, 255, 255)), 0) is rgb


@given(scenes(), st.floats(0, 100))
def test_light_wrap_only_brightens_and_keeps_inputs(scene, amount):
    before = [array.copy() for array in scene]
    rgb, alpha, background = scene
    wrapped = light_wrap(rgb, alpha, background, amount)
    assert wrapped.shape == rgb.shape
    assert wrapped.dtype == np.uint8
    assert (wrapped[alpha > 0] >= rgb[alpha > 0]).all()
    for array, copy in zip(scene, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("hw", [(64, 96), (32, 48), (128, 192), (64, 64), (4, 96), (64, 4)])
def test_cover_keeps_centre_and_fills_size(hw):
    covered = resize_to_cover(quadrants(64, 96), hw)
    assert covered.shape == (*hw, 3)
    corners = covered[0, 0], covered[0, -1], covered[-1, 0], covered[-1, -1]
    expected = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    for corner, colour in zip(corners, expected, strict=True):
        np.testing.assert_allclose(corner, colour, atol=2)


def test_cover_of_same_size_is_unchanged():
    np.testing.assert_array_equal(resize_to_cover(person(), (240, 320)), person())


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_cover_never_shares_memory_with_background(source, hw):
    """Blending in place would otherwise change the background of the next frame."""
    background = np.zeros((*source, 3), np.uint8)
    assert not np.shares_memory(resize_to_cover(background, hw), background)


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
)
def test_cover_fills_any_size(source, hw):
    assert (resize_to_cover(np.full((*source, 3), 9, np.uint8), hw) == 9).all()
    assert resize_to_cover(np.zeros((*source, 3), np.uint8), hw).shape == (*hw, 3)


@given(st.integers(0, 255), st.integers(0, 255))
def test_remove_white_restores_the_colour_of_the_photo(level, opacity):
    on_white = np.full((1, 1, 3), round((level * opacity + 255 * (255 - opacity)) / 255), np.uint8)
    remove_white(on_white, np.full((1, 1), opacity, np.uint8))
    shown = int(on_white[0, 0, 0]) * opacity / 255
    assert abs(shown - level * opacity / 255) <= 1
