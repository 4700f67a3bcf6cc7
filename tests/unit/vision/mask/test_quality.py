import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from silhouette_seg.vision.mask.quality import (
    CALIBRATION,
    MAX_EXACT_GROW_PIXELS,
    MIN_PERSON_CERTAINTY,
    MIN_PERSON_SHARE,
    PERSON_CERTAINTY,
    PERSON_SHARE,
    Box,
    MaskQuality,
    binarise,
    bounding_box,
    feather,
    grow,
    measure_quality,
)

masks = npst.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)))


def square(height=100, width=120, top=30, left=40, side=20):
    alpha = np.zeros((height, width), np.uint8)
    alpha[top : top + side, left : left + side] = 255
    return alpha


@given(masks, st.floats(0, 1))
def test_binarise_keeps_pixels_from_the_threshold(alpha, threshold):
    hard = binarise(alpha, threshold)
    margin = np.abs(alpha / 255 - threshold) > 1e-6
    np.testing.assert_array_equal(hard[margin], np.where(alpha / 255 >= threshold, 255, 0)[margin])


def test_binarise_includes_the_threshold_itself():
    ramp = np.arange(256, dtype=np.uint8)[None]
    for level in range(256):
        assert np.count_nonzero(binarise(ramp, level / 255)) == 256 - level


@pytest.mark.parametrize("pixels", [1, 3, 10, MAX_EXACT_GROW_PIXELS])
def test_grow_moves_each_edge_by_the_given_pixels(pixels):
    grown = grow(square(200, 200, 80, 80, 20), pixels)
    assert bounding_box(grown) == Box(80 - pixels, 80 - pixels, 20 + 2 * pixels, 20 + 2 * pixels)


def test_grow_rounds_corners():
    grown = grow(square(200, 200, 80, 80, 20), 12)
    assert grown[80 - 12, 90] == 255
    assert grown[80 - 12, 80 - 12] == 0


def test_grow_by_negative_pixels_shrinks():
    assert bounding_box(grow(square(side=20), -4)) == Box(34, 44, 12, 12)
    assert bounding_box(grow(square(side=20), -10)) is None


def test_grow_by_zero_returns_a_copy():
    alpha = square()
    same = grow(alpha, 0)
    np.testing.assert_array_equal(same, alpha)
    assert not np.shares_memory(same, alpha)


def test_grow_beyond_the_exact_range_is_approximate():
    grown = bounding_box(grow(square(600, 600, 200, 200, 200), 80))
    assert grown is not None
    assert abs(grown.top - 120) <= 4
    assert abs(grown.height - 360) <= 8


@given(masks, st.integers(-100_000, 100_000))
def test_grow_by_any_pixels_keeps_the_shape(alpha, pixels):
    assert grow(alpha, pixels).shape == alpha.shape


@given(masks, st.integers(1, 8))
def test_grow_is_monotonic(alpha, pixels):
    assert (grow(alpha, pixels) >= alpha).all()
    assert (grow(alpha, -pixels) <= alpha).all()


def test_feather_softens_only_the_outline():
    soft = feather(square(300, 300, 100, 100, 100), 8)
    assert 100 < soft[100, 150] < 155
    assert soft[100 - 20, 150] == 0
    assert soft[150, 150] == 255


@given(masks, st.floats(0, 10_000))
def test_feather_by_any_pixels_keeps_shape_and_range(alpha, pixels):
    soft = feather(alpha, pixels)
    assert soft.shape == alpha.shape
    assert soft.min() >= alpha.min()
    assert soft.max() <= alpha.max()


def test_feather_by_zero_changes_nothing():
    np.testing.assert_array_equal(feather(square(), 0), square())


@given(masks)
def test_bounding_box_is_tight(alpha):
    box = bounding_box(alpha)
    rows, columns = np.nonzero(alpha > 127)
    if box is None:
        assert rows.size == 0
    else:
        assert (box.top, box.left) == (rows.min(), columns.min())
        assert (box.height, box.width) == (np.ptp(rows) + 1, np.ptp(columns) + 1)


def test_quality_of_a_hard_square():
    measured = measure_quality(square(100, 100, 30, 30, 20))
    assert measured == MaskQuality(0.04, 1.0, 1, 0, 1.0)
    assert (measured.confidence, measured.foreground) == (1.0, True)


def test_quality_counts_islands_and_their_largest_share():
    alpha = square(100, 100, 10, 10, 30)
    alpha[80:90, 80:90] = 200
    measured = measure_quality(alpha)
    assert (measured.piece_count, measured.coverage) == (2, 0.1)
    assert measured.connectivity == pytest.approx(0.9)


def test_quality_joins_pixels_touching_at_a_corner():
    assert measure_quality(np.eye(8, dtype=np.uint8) * 255).piece_count == 1


def test_quality_counts_enclosed_holes_without_specks():
    alpha = square(300, 200, 50, 50, 100)
    alpha[60:80, 60:80] = 0
    assert measure_quality(alpha).holes == 1
    alpha[100:110, 100:110] = 127
    assert measure_quality(alpha).holes == 2
    alpha[100:105, 70:71] = 0  # a speck: 5 of 60,000 pixels
    assert measure_quality(alpha).holes == 2


def test_quality_counts_no_open_part_as_hole():
    alpha = square(200, 200, 0, 50, 100)
    alpha[0:20, 60:80] = 0  # open to the edge of the picture
    alpha[40:60, 120:150] = 0  # a bay, open to the background
    assert measure_quality(alpha).holes == 0


def test_quality_connects_background_by_sides_not_by_corners():
    """The person connects by corners, so the background does not."""
    alpha = square(300, 200, 20, 20, 30)
    alpha[30:40, 30:40] = 0
    way_out = np.arange(20, 30)
    alpha[way_out, way_out] = 0  # each pixel is a speck
    assert measure_quality(alpha).holes == 1
    alpha[20:40, 30] = 0
    assert measure_quality(alpha).holes == 0


@given(masks)
def test_quality_counts_holes_like_a_flood_fill(alpha):
    """Masks of this size have no specks."""
    outside = np.pad((alpha > 127).astype(np.uint8), 1)
    cv2.floodFill(outside, None, (0, 0), 1, flags=4)
    enclosed = cv2.connectedComponents((outside == 0).astype(np.uint8), connectivity=4)[0] - 1
    assert measure_quality(alpha).holes == enclosed


@pytest.mark.parametrize(("level", "certainty"), [(0, 1.0), (127, 0.5 / 127.5)])
def test_quality_of_a_mask_without_a_person(level, certainty):
    measured = measure_quality(np.full((50, 50), level, np.uint8))
    assert measured == MaskQuality(0.0, 0.0, 0, 0, pytest.approx(certainty))
    assert not measured.foreground


def test_quality_treats_a_speck_as_noise():
    alpha = np.zeros((192, 192), np.uint8)
    alpha[10:14, 10:14] = 255
    measured = measure_quality(alpha)
    assert (measured.piece_count, measured.foreground) == (1, False)


@pytest.mark.parametrize(
    ("share", "certainty", "found"),
    [
        (PERSON_SHARE, MIN_PERSON_CERTAINTY, True),
        (1.0, MIN_PERSON_CERTAINTY * 0.99, False),
        (PERSON_SHARE * 0.99, PERSON_CERTAINTY, True),
        (PERSON_SHARE * 0.99, PERSON_CERTAINTY * 0.99, False),
        (MIN_PERSON_SHARE, PERSON_CERTAINTY, True),
        (MIN_PERSON_SHARE * 0.99, 1.0, False),
        (0.0, 1.0, False),
    ],
)
def test_component_with_a_certain_outline_is_a_person(share, certainty, found):
    assert MaskQuality(share, 1.0, 1, 0, certainty).foreground == found


def test_largest_component_alone_decides_the_foreground():
    assert not MaskQuality(2 * MIN_PERSON_SHARE, 0.4, 3, 0, 1.0).foreground
    assert MaskQuality(2 * MIN_PERSON_SHARE, 0.6, 3, 0, 1.0).foreground


def test_quality_rejects_a_small_square_that_is_soft():
    small = square(192, 192, 100, 100, 16)
    assert measure_quality(small).foreground
    assert measure_quality(feather(small, 2)).foreground
    assert not measure_quality(feather(small, 16)).foreground


def test_confidence_falls_with_a_softer_outline():
    hard = square(200, 200, 50, 50, 100)
    soft, softer = (measure_quality(feather(hard, pixels)).confidence for pixels in (3, 6))
    assert 0.5 < softer < soft < 1


@given(st.integers(0, 255), st.integers(0, 255))
def test_confidence_grows_with_certainty_within_its_range(inner, outer):
    """Both sides of the outline have the same weight."""
    alpha = np.full((20, 20), outer, np.uint8)
    alpha[:, 10:] = inner
    measured = measure_quality(alpha)
    certainty = (abs(2 * inner - 255) + abs(2 * outer - 255)) / 510
    assert measured.boundary_certainty == pytest.approx(certainty)
    expected = CALIBRATION[0] + CALIBRATION[1] * certainty
    if (inner > 127) == (outer > 127):
        assert measured.confidence is None
    else:
        assert measured.confidence == pytest.approx(min(1, max(0.5, expected)))


@given(masks)
def test_quality_of_any_mask_is_in_range(alpha):
    measured = measure_quality(alpha)
    for share in (measured.coverage, measured.connectivity, measured.boundary_certainty):
        assert 0 <= share <= 1
    assert (measured.confidence is None) == (len(np.unique(alpha > 127)) == 1)
    assert measured.confidence is None or 0.5 <= measured.confidence <= 1
    assert measured.piece_count >= 0


@pytest.mark.parametrize("side", [510, 512, 514])
def test_quality_counts_the_maximum_number_of_islands(side):
    alpha = np.zeros((side, side), np.uint8)
    alpha[::2, ::2] = 255
    measured = measure_quality(alpha)
    assert measured.piece_count == (side // 2) ** 2
    assert measured.connectivity == pytest.approx(1 / measured.piece_count)
