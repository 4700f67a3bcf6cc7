"""Tests of the colours of video frames: HDR, wide primaries, and matrices that are not declared."""

import numpy as np
import pytest

from silhouette_seg.video.colour import frame_colours, to_sdr
from silhouette_seg.video.errors import VideoError
from tests.support.video_colours import UNTAGGED, Tags, colour_frame

SKIN, FOREST, GREY = (200, 150, 120), (30, 120, 60), (128, 128, 128)
TO_BT_2020 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)
"""Linear RGB of BT.709 to that of BT.2020, from ITU-R BT.2087."""
REFERENCE_WHITE_NITS = 203


def linear(rgb) -> np.ndarray:
    """Returns the linear light, 0..1, of a colour in sRGB, 0..255."""
    share = np.array(rgb) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def srgb(light: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = np.where(
        light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055
    )
    return float(red), float(green), float(blue)


def pq(nits: np.ndarray) -> tuple[float, float, float]:
    power = (nits / 10_000) ** 0.1593017578125
    red, green, blue = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    return float(red), float(green), float(blue)


def hlg(nits: np.ndarray) -> tuple[float, float, float]:
    """Inverts the display of 1000 cd/m2 in BT.2100, and applies its curve."""
    luma = nits @ (0.2627, 0.6780, 0.0593) / 1000
    scene = nits / 1000 * luma ** (1 / 1.2 - 1)
    upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    red, green, blue = np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)
    return float(red), float(green), float(blue)


HDR = [(pq, 16), (hlg, 18)]


@pytest.mark.parametrize("rgb", [SKIN, FOREST, GREY, (40, 60, 170), (12, 9, 8)])
@pytest.mark.parametrize(("encode", "transfer"), HDR)
def test_hdr_colour_below_white_becomes_its_srgb_value(encode, transfer, rgb):
    nits = REFERENCE_WHITE_NITS * (TO_BT_2020 @ linear(rgb))
    frame = colour_frame(encode(nits), 9, Tags(9, 9, transfer))
    assert to_sdr(frame)[16, 16].tolist() == pytest.approx(rgb, abs=2)


@pytest.mark.parametrize(("encode", "transfer"), HDR)
def test_hdr_highlights_above_white_stay_distinct(encode, transfer):
    """The light is grey, at the reference white and up to five times as bright."""
    levels = [
        int(to_sdr(colour_frame(encode(np.full(3, nits)), 9, Tags(9, 9, transfer)))[0, 0, 1])
        for nits in (REFERENCE_WHITE_NITS, 300, 500, 990)
    ]
    assert levels[0] >= 245
    assert levels == sorted(set(levels))


def test_hdr_without_other_tags_is_bt_2020():
    tagged = colour_frame((0.5, 0.3, 0.2), 9, Tags(9, 9, 18))
    bare = colour_frame((0.5, 0.3, 0.2), 9, Tags(transfer=18))
    np.testing.assert_array_equal(to_sdr(bare), to_sdr(tagged))


@pytest.mark.parametrize("transfer", [1, 14])
def test_bt_2020_in_sdr_is_converted_to_bt_709(transfer):
    frame = colour_frame(srgb(TO_BT_2020 @ linear(FOREST)), 9, Tags(9, 9, transfer))
    assert to_sdr(frame)[16, 16].tolist() == pytest.approx(FOREST, abs=2)
    assert (frame_colours(frame).hdr_name, frame_colours(frame).result_matrix) == (None, 1)


@pytest.mark.parametrize(("rows", "matrix"), [(480, 6), (718, 6), (720, 1), (1080, 1)])
@pytest.mark.parametrize("declared", [2, 3])
def test_undeclared_matrix_is_that_of_players(rows, matrix, declared):
    """The matrix number 3 is reserved: it says as little as 2."""
    frame = colour_frame((0, 177 / 255, 64 / 255), matrix, Tags(declared), (rows, 64))
    assert frame_colours(frame).result_matrix == matrix
    assert to_sdr(frame)[16, 16].tolist() == pytest.approx((0, 177, 64), abs=3)


@pytest.mark.parametrize("matrix", [1, 5, 6])
def test_declared_matrix_is_read_and_kept(matrix):
    frame = colour_frame((0, 177 / 255, 64 / 255), matrix, Tags(matrix), (64, 64))
    assert frame_colours(frame).result_matrix == matrix
    assert to_sdr(frame)[16, 16].tolist() == pytest.approx((0, 177, 64), abs=3)


@pytest.mark.parametrize("matrix", [8, 10, 14, 15])
def test_matrix_that_cannot_be_applied_raises(matrix):
    """Dolby Vision without a base layer for other players has the matrix 15."""
    with pytest.raises(VideoError, match=f"matrix {matrix}"):
        to_sdr(colour_frame((0.5, 0.3, 0.2), 9, Tags(matrix)))


def test_frame_in_rgb_keeps_its_values():
    frame = colour_frame((0.5, 0.3, 0.2), 1, UNTAGGED).reformat(format="gbrp")
    expected = frame.to_ndarray(format="rgb24")
    np.testing.assert_array_equal(to_sdr(frame), expected)
