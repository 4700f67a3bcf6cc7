import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.vision.compose import blurred, composite, cover, cutout, solid
from tests.images import person, quadrants

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
def test_composite_is_within_a_level_of_exact_and_leaves_its_inputs(scene):
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
def test_composite_in_place_is_the_same_and_in_the_background(scene):
    rgb, alpha, background = scene
    expected = composite(rgb, alpha, background)
    blended = composite(rgb, alpha, background, in_place=True)
    assert blended is background
    np.testing.assert_array_equal(blended, expected)


def test_composite_of_a_person_in_the_middle():
    alpha = np.zeros((240, 320), np.uint8)
    alpha[40:230, 100:220] = 255
    green = solid((240, 320), (0, 255, 0))
    blended = composite(person(), alpha, green)
    np.testing.assert_array_equal(blended, np.where(alpha[..., None] > 0, person(), green))


def test_solid_is_rgb():
    assert solid((2, 3), (1, 2, 3)).tolist() == [[[1, 2, 3]] * 3] * 2


def test_blurred_loses_detail_and_keeps_the_mean():
    soft = blurred(person(), 3)
    assert soft.shape == person().shape
    assert np.abs(np.diff(soft.astype(int), axis=1)).mean() < 2
    np.testing.assert_allclose(soft.mean((0, 1)), person().mean((0, 1)), atol=2)


def test_blurred_at_a_reduced_size_agrees_with_a_long_kernel():
    """Compared with a Gaussian by numpy, where the border has no say."""
    step = np.zeros((200, 400, 3), np.uint8)
    step[:, 200:] = 200
    sigma = 16.0
    offsets = np.arange(-100, 101)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    exact = np.convolve(step[0, :, 0], kernel / kernel.sum(), mode="same")
    soft = blurred(step, 8.0)[100, :, 1]
    assert np.abs(soft[120:280] - exact[120:280]).max() < 5


def test_blurred_by_zero_is_a_copy():
    same = blurred(person(), 0)
    np.testing.assert_array_equal(same, person())
    assert not np.shares_memory(same, person())


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 60, 3), (60, 1, 3), (2, 3, 3)])
@pytest.mark.parametrize("percent", [0.1, 3, 100, 1000])
def test_blurred_of_tiny_and_narrow_images(shape, percent):
    assert (blurred(np.full(shape, 77, np.uint8), percent) == 77).all()


@pytest.mark.parametrize("hw", [(64, 96), (32, 48), (128, 192), (64, 64), (4, 96), (64, 4)])
def test_cover_keeps_the_middle_and_fills_the_size(hw):
    covered = cover(quadrants(64, 96), hw)
    assert covered.shape == (*hw, 3)
    corners = covered[0, 0], covered[0, -1], covered[-1, 0], covered[-1, -1]
    expected = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    for corner, colour in zip(corners, expected, strict=True):
        np.testing.assert_allclose(corner, colour, atol=2)


def test_cover_of_the_same_size_is_the_same():
    np.testing.assert_array_equal(cover(person(), (240, 320)), person())


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
)
def test_cover_fills_any_size(source, hw):
    assert (cover(np.full((*source, 3), 9, np.uint8), hw) == 9).all()
    assert cover(np.zeros((*source, 3), np.uint8), hw).shape == (*hw, 3)
