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
    """Generates regions, some of which lie partly outside the photo."""
    top, left = (draw(st.floats(-0.5, 1)) for _ in range(2))
    height, width = (draw(st.floats(0, 1.5)) for _ in range(2))
    return Region(top, left, height, width)


@st.composite
def photos_with_box(draw) -> tuple[tuple[int, int], Box]:
    """Generates the size of a photo with a box in it."""
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
def test_crop_lies_in_the_photo(region, hw):
    assert lies_in(crop_around(region, hw), hw)


@given(photos_with_box())
def test_crop_contains_the_person_and_the_available_margin(photo):
    (height, width), box = photo
    region = Region(box.top / height, box.left / width, box.height / height, box.width / width)
    crop_box = crop_around(region, (height, width))
    above = min(box.top, CROP_MARGIN * box.height) - 1
    left = min(box.left, CROP_MARGIN * box.width) - 1
    below = min(height, box.top + (1 + CROP_MARGIN) * box.height) - 1
    right = min(width, box.left + (1 + CROP_MARGIN) * box.width) - 1
    assert crop_box.top <= box.top - above
    assert crop_box.left <= box.left - left
    assert crop_box.top + crop_box.height >= below
    assert crop_box.left + crop_box.width >= right


@given(photos_with_box())
def test_crop_aspect_is_limited_unless_the_photo_exceeds_it(photo):
    hw, box = photo
    region = Region(box.top / hw[0], box.left / hw[1], box.height / hw[0], box.width / hw[1])
    crop_box = crop_around(region, hw)
    assert crop_box.height <= MAX_ASPECT * crop_box.width + 2 or crop_box.width == hw[1]
    assert crop_box.width <= MAX_ASPECT * crop_box.height + 2 or crop_box.height == hw[0]


def test_crop_of_a_tall_person_is_wide():
    """The margin counts even if it exceeds the photo, so such a crop gains little."""
    assert crop_around(Region(0.1, 0.45, 0.8, 0.1), (1000, 1000)) == Box(0, 100, 1000, 800)


def test_crop_of_a_cut_off_body_follows_the_visible_part():
    assert crop_around(Region(0.9, 0.45, 8, 0.1), (1000, 1000)) == Box(800, 400, 200, 200)


@given(photos_with_box(), st.integers(1, 8))
def test_scaled_box_covers_the_same_part_of_the_photo(small, factor):
    hw, box = small
    whole = (hw[0] * factor, hw[1] * factor)
    expected = Box(*(factor * side for side in (box.top, box.left, box.height, box.width)))
    assert scale_box(box, hw, whole) == expected
    assert scale_box(expected, whole, hw) == box


@given(photos_with_box(), sizes)
def test_scaled_box_lies_in_the_photo(photo, other_hw):
    hw, box = photo
    assert lies_in(scale_box(box, hw, other_hw), other_hw)


def test_small_person_is_cropped_with_margin():
    crop_box = find_crop(mask((100, 100), Box(40, 50, 20, 10)), None, (1000, 1000))
    assert crop_box is not None
    assert (crop_box.top, crop_box.height) == (300, 400)
    assert crop_box.height == MAX_ASPECT * crop_box.width
    assert crop_box.left + crop_box.width / 2 == 550


def test_person_filling_the_photo_is_not_cropped():
    assert find_crop(mask((100, 100), Box(10, 20, 90, 60)), None, (1000, 1000)) is None


@given(st.integers(1, 100))
def test_crop_never_exceeds_its_maximum_share(side):
    crop_box = find_crop(mask((100, 100), Box(0, 0, side, side)), None, (500, 500))
    if crop_box is not None:
        assert crop_box.height * crop_box.width < MAX_CROP_SHARE * 500 * 500


def test_empty_mask_without_a_face_is_not_cropped():
    assert find_crop(mask((100, 100)), None, (1000, 1000)) is None


def test_empty_mask_with_a_face_is_cropped_to_the_body():
    face = Face(top=0.2, left=0.5, height=0.04, width=0.02, score=0.9)
    crop_box = find_crop(mask((100, 100)), face, (1000, 1000))
    assert crop_box is not None
    assert crop_box == crop_around(body_region(face), (1000, 1000))
    assert crop_box.top < 200
    assert crop_box.top + crop_box.height > 200 + 6 * 40


def test_speck_does_not_widen_the_person_region():
    person = Box(40, 50, 20, 10)
    speck = Box(2, 2, 2, 2)
    assert person_region(mask((100, 100), person, speck)) == person_region(mask((100, 100), person))


def test_person_region_contains_two_people():
    people = Box(40, 20, 20, 10), Box(45, 60, 20, 10)
    assert person_region(mask((100, 100), *people)) == Region(0.4, 0.2, 0.25, 0.5)


@given(photos_with_box(), st.integers(0, 255), st.integers(0, 255))
def test_blend_changes_nothing_outside_the_box(photo, level, other):
    hw, box = photo
    first = np.random.default_rng(0).integers(0, 256, hw, np.uint8)
    before = first.copy()
    blended = blend_into(first, np.full((box.height, box.width), level, np.uint8), box)
    np.testing.assert_array_equal(first, before)
    crop(blended, box)[:] = other
    crop(before, box)[:] = other
    np.testing.assert_array_equal(blended, before)


@given(photos_with_box(), st.integers(0, 255))
def test_blend_of_equal_masks_changes_nothing(photo, level):
    hw, box = photo
    first = np.full(hw, level, np.uint8)
    np.testing.assert_array_equal(blend_into(first, crop(first, box), box), first)


levels = st.integers(0, 255)


def uniform(level: int) -> np.ndarray:
    return np.full((4, 6), level, np.uint8)


@given(levels, levels)
def test_fused_levels_lie_between_the_two_masks(one, other):
    fused = fuse_log_odds(uniform(one), uniform(other))
    assert min(one, other) <= fused.min() <= fused.max() <= max(one, other)


@given(levels)
def test_fusion_of_equal_masks_changes_nothing(level):
    assert (fuse_log_odds(uniform(level), uniform(level)) == level).all()


def test_fusion_follows_the_certain_mask_of_a_pixel():
    """Both masks are equally uncertain, in different pixels."""
    first, second = uniform(255), uniform(255)
    first[:2], second[2:] = 100, 100
    assert fuse_log_odds(first, second).min() > 230
    first[:2], second[2:] = 100, 150
    second[:2], first[2:] = 0, 255
    assert fuse_log_odds(first, second)[:2].max() < 40


def test_fusion_weighs_the_less_uncertain_mask_more():
    """The disputed pixels are person in one mask and background in the other."""
    clear, grey = uniform(0), uniform(90)
    clear[:2], grey[:1] = 250, 180
    disputed = (slice(1, 2), slice(None))
    assert fuse_log_odds(clear, grey)[disputed].min() > 150
    np.testing.assert_array_equal(fuse_log_odds(clear, grey), fuse_log_odds(grey, clear))


def test_fusion_keeps_a_person_of_the_second_mask():
    seen = uniform(0)
    seen[1:3, 1:4] = 240
    fused = fuse_log_odds(uniform(0), seen) > 127
    np.testing.assert_array_equal(fused, seen > 127)


def test_fusion_removes_a_speck_of_the_first_mask():
    speck = uniform(60)
    speck[1, 1] = 140
    assert fuse_log_odds(speck, uniform(0)).max() < 127


def test_blend_ramps_evenly_over_its_margin():
    """The level rises in even steps from the first mask's black to the second mask's white."""
    box = Box(100, 200, 320, 320)
    blended = blend_into(np.zeros((600, 800), np.uint8), np.full((320, 320), 255, np.uint8), box)
    margin = round(BLEND_MARGIN * 320)
    steps = np.diff(blended[260, 200 : 200 + margin].astype(int))
    assert blended[260, 200 + margin : 520 - margin].min() == 255
    assert steps.min() > 0
    assert steps.max() <= 255 / margin + 1
    assert blended[260, 200] <= 255 / margin


@pytest.mark.parametrize("box", [Box(0, 0, 60, 80), Box(0, 20, 60, 40)])
def test_blend_has_no_margin_at_the_photos_edge(box):
    second = np.full((box.height, box.width), 255, np.uint8)
    blended = blend_into(np.zeros((60, 80), np.uint8), second, box)
    assert blended[[0, -1], box.left + box.width // 2].min() == 255
