import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.pipeline.faces import Face
from silhouette_seg.pipeline.zoom import (
    BLEND_MARGIN,
    CROP_MARGIN,
    MAX_ASPECT,
    MAX_CROP_SHARE,
    Region,
    blend_into,
    body_region,
    crop,
    crop_around,
    find_crop,
    fuse_log_odds,
    person_region,
    scale_box,
)
from silhouette_seg.vision.mask.quality import Box

sides = st.integers(1, 300)
sizes = st.tuples(sides, sides)


@st.composite
def regions(draw) -> Region:
    """Of which some lie partly outside the photo."""
    top, left = (draw(st.floats(-0.5, 1)) for _ in range(2))
    height, width = (draw(st.floats(0, 1.5)) for _ in range(2))
    return Region(top, left, height, width)


@st.composite
def windows(draw) -> tuple[tuple[int, int], Box]:
    """The size of a photo, and a box in it."""
    (height, width) = hw = draw(sizes)
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    rows, columns = draw(st.integers(1, height - top)), draw(st.integers(1, width - left))
    return hw, Box(top, left, rows, columns)


def mask(hw: tuple[int, int], *boxes: Box) -> np.ndarray:
    alpha = np.zeros(hw, np.uint8)
    for box in boxes:
        crop(alpha, box)[:] = 255
    return alpha


def lies_in(box: Box, hw: tuple[int, int]) -> bool:
    rows = 0 <= box.top < box.top + box.height <= hw[0]
    return rows and 0 <= box.left < box.left + box.width <= hw[1]


@given(regions(), sizes)
def test_a_window_lies_in_the_photo(region, hw):
    assert lies_in(crop_around(region, hw), hw)


@given(windows())
def test_a_window_holds_its_person_with_a_margin_wherever_the_photo_has_one(photo):
    (height, width), box = photo
    region = Region(box.top / height, box.left / width, box.height / height, box.width / width)
    window = crop_around(region, (height, width))
    above = min(box.top, CROP_MARGIN * box.height) - 1
    left = min(box.left, CROP_MARGIN * box.width) - 1
    below = min(height, box.top + (1 + CROP_MARGIN) * box.height) - 1
    right = min(width, box.left + (1 + CROP_MARGIN) * box.width) - 1
    assert window.top <= box.top - above
    assert window.left <= box.left - left
    assert window.top + window.height >= below
    assert window.left + window.width >= right


@given(windows())
def test_a_window_is_no_longer_than_photos_are_unless_the_photo_is(photo):
    hw, box = photo
    region = Region(box.top / hw[0], box.left / hw[1], box.height / hw[0], box.width / hw[1])
    window = crop_around(region, hw)
    assert window.height <= MAX_ASPECT * window.width + 2 or window.width == hw[1]
    assert window.width <= MAX_ASPECT * window.height + 2 or window.height == hw[0]


def test_a_person_nearly_as_high_as_the_photo_has_a_wide_window():
    """The margin that the photo has no room for counts, too: little is won by such a window."""
    assert crop_around(Region(0.1, 0.45, 0.8, 0.1), (1000, 1000)) == Box(0, 100, 1000, 800)


def test_of_a_body_that_leaves_the_photo_the_rest_counts():
    assert crop_around(Region(0.9, 0.45, 8, 0.1), (1000, 1000)) == Box(800, 400, 200, 200)


@given(windows(), st.integers(1, 8))
def test_a_window_of_a_smaller_decode_is_the_same_part_of_the_photo(small, factor):
    hw, box = small
    whole = (hw[0] * factor, hw[1] * factor)
    expected = Box(*(factor * side for side in (box.top, box.left, box.height, box.width)))
    assert scale_box(box, hw, whole) == expected
    assert scale_box(expected, whole, hw) == box


@given(windows(), sizes)
def test_a_window_lies_in_the_photo_at_any_size(photo, other_hw):
    hw, box = photo
    assert lies_in(scale_box(box, hw, other_hw), other_hw)


def test_a_small_person_is_looked_at_again():
    window = find_crop(mask((100, 100), Box(40, 50, 20, 10)), None, (1000, 1000))
    assert window is not None
    assert (window.top, window.height) == (300, 400)
    assert window.height == MAX_ASPECT * window.width
    assert window.left + window.width / 2 == 550


def test_a_person_who_fills_the_photo_is_not():
    assert find_crop(mask((100, 100), Box(10, 20, 90, 60)), None, (1000, 1000)) is None


@given(st.integers(1, 100))
def test_no_window_shows_most_of_the_photo(side):
    window = find_crop(mask((100, 100), Box(0, 0, side, side)), None, (500, 500))
    if window is not None:
        assert window.height * window.width < MAX_CROP_SHARE * 500 * 500


def test_an_empty_mask_without_a_face_is_the_answer():
    assert find_crop(mask((100, 100)), None, (1000, 1000)) is None


def test_an_empty_mask_below_a_face_is_looked_at_again():
    face = Face(top=0.2, left=0.5, height=0.04, width=0.02, score=0.9)
    window = find_crop(mask((100, 100)), face, (1000, 1000))
    assert window is not None
    assert window == crop_around(body_region(face), (1000, 1000))
    assert window.top < 200
    assert window.top + window.height > 200 + 6 * 40


def test_a_speck_does_not_widen_the_window():
    person = Box(40, 50, 20, 10)
    speck = Box(2, 2, 2, 2)
    assert person_region(mask((100, 100), person, speck)) == person_region(mask((100, 100), person))


def test_two_people_share_a_window():
    people = Box(40, 20, 20, 10), Box(45, 60, 20, 10)
    assert person_region(mask((100, 100), *people)) == Region(0.4, 0.2, 0.25, 0.5)


@given(windows(), st.integers(0, 255), st.integers(0, 255))
def test_outside_the_window_the_first_mask_stays(photo, level, other):
    hw, window = photo
    first = np.random.default_rng(0).integers(0, 256, hw, np.uint8)
    before = first.copy()
    merged = blend_into(first, np.full((window.height, window.width), level, np.uint8), window)
    np.testing.assert_array_equal(first, before)
    crop(merged, window)[:] = other
    crop(before, window)[:] = other
    np.testing.assert_array_equal(merged, before)


@given(windows(), st.integers(0, 255))
def test_masks_that_agree_stay_as_they_are(photo, level):
    hw, window = photo
    first = np.full(hw, level, np.uint8)
    np.testing.assert_array_equal(blend_into(first, crop(first, window), window), first)


levels = st.integers(0, 255)


def even(level: int) -> np.ndarray:
    return np.full((4, 6), level, np.uint8)


@given(levels, levels)
def test_what_two_masks_say_lies_between_them(one, other):
    together = fuse_log_odds(even(one), even(other))
    assert min(one, other) <= together.min() <= together.max() <= max(one, other)


@given(levels)
def test_masks_that_say_the_same_are_believed(level):
    assert (fuse_log_odds(even(level), even(level)) == level).all()


def test_who_is_certain_of_a_pixel_is_believed():
    """Both masks are as grey as each other, but not in the same pixels."""
    first, second = even(255), even(255)
    first[:2], second[2:] = 100, 100
    assert fuse_log_odds(first, second).min() > 230
    first[:2], second[2:] = 100, 150
    second[:2], first[2:] = 0, 255
    assert fuse_log_odds(first, second)[:2].max() < 40


def test_the_less_grey_mask_has_more_to_say():
    """Of the pixels that are person for one and not for the other."""
    clear, cloud = even(0), even(90)
    clear[:2], cloud[:1] = 250, 180
    disputed = (slice(1, 2), slice(None))
    assert fuse_log_odds(clear, cloud)[disputed].min() > 150
    np.testing.assert_array_equal(fuse_log_odds(clear, cloud), fuse_log_odds(cloud, clear))


def test_a_person_that_only_the_second_look_sees_is_there():
    seen = even(0)
    seen[1:3, 1:4] = 240
    together = fuse_log_odds(even(0), seen) > 127
    np.testing.assert_array_equal(together, seen > 127)


def test_a_speck_that_the_second_look_does_not_see_is_gone():
    speck = even(60)
    speck[1, 1] = 140
    assert fuse_log_odds(speck, even(0)).max() < 127


def test_there_is_no_seam():
    """From the first mask's black to the second's white in even steps, over the rim."""
    window = Box(100, 200, 320, 320)
    merged = blend_into(np.zeros((600, 800), np.uint8), np.full((320, 320), 255, np.uint8), window)
    rim = round(BLEND_MARGIN * 320)
    steps = np.diff(merged[260, 200 : 200 + rim].astype(int))
    assert merged[260, 200 + rim : 520 - rim].min() == 255
    assert steps.min() > 0
    assert steps.max() <= 255 / rim + 1
    assert merged[260, 200] <= 255 / rim


@pytest.mark.parametrize("window", [Box(0, 0, 60, 80), Box(0, 20, 60, 40)])
def test_an_edge_of_the_photo_has_no_rim(window):
    second = np.full((window.height, window.width), 255, np.uint8)
    merged = blend_into(np.zeros((60, 80), np.uint8), second, window)
    assert merged[[0, -1], window.left + window.width // 2].min() == 255
