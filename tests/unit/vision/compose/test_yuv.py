import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.vision.compose import yuv
from silhouette_seg.vision.compose.yuv import Planes
from tests.support.images import person, quadrants

SIZES = [(48, 64), (47, 64), (48, 63), (47, 63), (2, 2), (1, 1), (3, 1)]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (32, 99, 155)]

sides = st.integers(1, 40)


@st.composite
def scenes(draw):
    """Generates planes, an alpha and a background of one size."""
    size_hw = draw(sides), draw(sides)
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))

    def plane(hw):
        return chance.integers(0, 256, hw).astype(np.uint8)

    shapes = size_hw, yuv.chroma_size(size_hw), yuv.chroma_size(size_hw)
    return Planes(*map(plane, shapes)), plane(size_hw), Planes(*map(plane, shapes))


@pytest.mark.parametrize("size_hw", SIZES)
@pytest.mark.parametrize("colour", COLOURS)
def test_colour_survives_conversion_and_back(size_hw, colour):
    rgb = np.full((*size_hw, 3), colour, np.uint8)
    planes = yuv.from_rgb(rgb)
    assert planes.size_hw == size_hw
    assert planes.u.shape == planes.v.shape == yuv.chroma_size(size_hw)
    back = yuv.to_rgb(planes)
    assert back.shape == rgb.shape
    assert np.abs(back.astype(int) - rgb).max() <= 3


def test_planes_have_values_of_bt_601():
    planes = yuv.from_rgb(quadrants(8, 8))  # red, green / blue, white
    assert [int(planes.y[y, x]) for y in (0, 7) for x in (0, 7)] == pytest.approx(
        [82, 145, 41, 235], abs=1
    )
    assert [int(planes.u[y, x]) for y in (0, 3) for x in (0, 3)] == pytest.approx(
        [90, 54, 240, 128], abs=1
    )
    assert [int(planes.v[y, x]) for y in (0, 3) for x in (0, 3)] == pytest.approx(
        [240, 34, 110, 128], abs=1
    )


@pytest.mark.parametrize("axis", [0, 1], ids=["rows", "columns"])
@pytest.mark.parametrize("first", [0, 1])
def test_chroma_of_fine_red_lines_is_averaged(axis, first):
    """Every second row or column is red on white, whichever comes first."""
    rgb = np.full((16, 16, 3), 255, np.uint8)
    np.moveaxis(rgb, axis, 0)[first::2] = 255, 0, 0
    planes = yuv.from_rgb(rgb)
    plain = yuv.from_rgb(np.full((2, 2, 3), (255, 0, 0), np.uint8))
    for chroma, red in ((planes.u, plain.u), (planes.v, plain.v)):
        assert chroma.min() == pytest.approx((128 + int(red[0, 0])) / 2, abs=1)
        assert np.ptp(chroma) == 0


@pytest.mark.parametrize("size_hw", SIZES)
def test_chroma_is_that_of_mean_colour(size_hw):
    rgb = person(*size_hw)
    height, width = (side // 2 * 2 for side in size_hw)
    planes = yuv.from_rgb(rgb)
    whole = rgb[:height, :width].astype(float)
    mean = whole.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3)) / 255
    luma = mean @ (0.299, 0.587, 0.114)
    blue = 128 + 224 * (mean[..., 2] - luma) / 1.772
    red = 128 + 224 * (mean[..., 0] - luma) / 1.402
    for plane, expected in ((planes.u, blue), (planes.v, red)):
        inner = plane[: height // 2, : width // 2]
        assert np.abs(inner - expected).max(initial=0) <= 1.5


@pytest.mark.parametrize("size_hw", [(120, 160), (119, 161)])
def test_photo_survives_conversion_except_fine_colour(size_hw):
    rgb = person(*size_hw)
    assert np.abs(yuv.to_rgb(yuv.from_rgb(rgb)).astype(int) - rgb).mean() < 3


def test_noncontiguous_rows_are_read_correctly():
    planes = yuv.from_rgb(person(48, 64))
    apart = Planes(*(np.pad(plane, ((0, 0), (0, 9)))[:, :-9] for plane in planes))
    assert not apart.y.flags.c_contiguous
    np.testing.assert_array_equal(yuv.to_rgb(apart), yuv.to_rgb(planes))
    alpha = person(48, 64)[..., 0]
    for one, other in zip(
        yuv.composite(apart, alpha, apart), yuv.composite(planes, alpha, planes), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@given(scenes())
def test_composite_is_within_one_level_and_keeps_inputs(scene):
    planes, alpha, background = scene
    before = [plane.copy() for plane in (*planes, alpha, *background)]
    blended = yuv.composite(planes, alpha, background)
    share = alpha / 255
    assert np.abs(blended.y - (planes.y * share + background.y * (1 - share))).max() <= 1
    for array, copy in zip((*planes, alpha, *background), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@given(scenes())
def test_composite_with_full_or_empty_alpha_is_exact(scene):
    planes, alpha, background = scene
    for level, expected in ((255, planes), (0, background)):
        blended = yuv.composite(planes, np.full_like(alpha, level), background)
        for plane, expected_plane in zip(blended, expected, strict=True):
            np.testing.assert_array_equal(plane, expected_plane)


def test_chroma_follows_mask_at_half_size():
    size_hw = 8, 8
    red, blue = yuv.solid(size_hw, (255, 0, 0)), yuv.solid(size_hw, (0, 0, 255))
    alpha = np.zeros(size_hw, np.uint8)
    alpha[:, :3] = 255  # ends in the middle of a chroma pixel
    blended = yuv.composite(red, alpha, blue)
    middle = (int(red.v[0, 0]) + int(blue.v[0, 0])) / 2
    assert blended.v[0].tolist() == pytest.approx(
        [red.v[0, 0], middle, blue.v[0, 0], blue.v[0, 0]], abs=1
    )


def test_mask_becomes_grey_image():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    rgb = yuv.to_rgb(yuv.from_mask(ramp))
    assert np.abs(rgb.astype(int) - ramp[..., None]).max() <= 1
    assert rgb[0, 0].tolist() == [0, 0, 0]
    assert rgb[0, 255].tolist() == [255, 255, 255]


@pytest.mark.parametrize("size_hw", SIZES)
def test_solid_image_has_one_colour(size_hw):
    planes = yuv.solid(size_hw, (32, 99, 155))
    for plane, expected_plane in zip(
        planes, yuv.from_rgb(np.full((*size_hw, 3), (32, 99, 155), np.uint8)), strict=True
    ):
        np.testing.assert_array_equal(plane, expected_plane)


def test_blur_is_equally_wide_in_luma_and_chroma():
    rgb = np.zeros((200, 200, 3), np.uint8)
    rgb[:, 100:] = 255, 0, 0
    planes = yuv.blurred(yuv.from_rgb(rgb), 10, np.zeros((200, 200), np.uint8))
    wide = [np.ptp(plane.astype(int)[:, [50, 149]]) for plane in (planes.y, planes.v.repeat(2, 1))]
    whole = [np.ptp(plane.astype(int)) for plane in yuv.from_rgb(rgb)[::2]]
    shares = [part / all_of_it for part, all_of_it in zip(wide, whole, strict=True)]
    assert shares[0] == pytest.approx(shares[1], abs=0.03)
    assert planes.y[0, 100] == pytest.approx((16 + 82) / 2, abs=3)


def test_blur_excludes_colours_of_person():
    rgb = np.full((200, 200, 3), (20, 40, 220), np.uint8)
    alpha = np.zeros((200, 200), np.uint8)
    rgb[50:150, 50:150], alpha[50:150, 50:150] = (220, 30, 30), 255
    for plane, behind in zip(
        yuv.blurred(yuv.from_rgb(rgb), 5, alpha), yuv.from_rgb(rgb[:50]), strict=True
    ):
        assert np.abs(plane.astype(int) - int(behind[0, 0])).max() <= 4


@pytest.mark.parametrize(
    ("size_hw", "longer_side", "expected"),
    [
        ((480, 640), 640, (480, 640)),
        ((480, 640), 4096, (480, 640)),
        ((479, 641), 641, (479, 641)),
        ((480, 640), 320, (240, 320)),
        ((720, 1280), 641, (360, 640)),
        ((1280, 720), 500, (500, 280)),
        ((2, 4096), 64, (2, 64)),
    ],
)
def test_planes_fit_within_longer_side_with_even_sides(size_hw, longer_side, expected):
    planes = yuv.fit_within(yuv.solid(size_hw, (32, 99, 155)), longer_side)
    assert planes.size_hw == expected
    assert planes.u.shape == planes.v.shape == yuv.chroma_size(expected)
    assert max(planes.size_hw) <= longer_side
