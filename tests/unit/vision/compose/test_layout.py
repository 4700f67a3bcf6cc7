import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from silhouette_seg.vision.compose.blend import composite, cutout, solid
from silhouette_seg.vision.compose.layout import (
    MAX_COPIES,
    MAX_POSITION,
    MAX_SCALE,
    MIN_POSITION,
    MIN_SCALE,
    Layout,
    PersonCopy,
    parse_layout,
    place_person,
    place_person_mask,
)
from silhouette_seg.vision.mask.quality import Box, bounding_box
from tests.support.images import person

HW = (240, 320)


def shares(low: float, high: float):
    return st.floats(low, high).map(lambda number: round(number, 6))


places = st.none() | shares(MIN_POSITION, MAX_POSITION)
copies = st.builds(PersonCopy, places, places, shares(MIN_SCALE, MAX_SCALE), st.booleans())
layouts = st.builds(Layout, st.lists(copies, min_size=1, max_size=3).map(tuple))


def standing() -> tuple[np.ndarray, np.ndarray]:
    """Returns a portrait and an asymmetric soft mask that the bottom of the photo cuts off."""
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    distance = np.hypot((columns - 150) / 50, (rows - 200) / 110)
    alpha = np.clip((1.05 - distance) * 800, 0, 255)
    alpha[:, 190:] = 0
    return person(), alpha.astype(np.uint8)


def placed(text: str, rgb=None, alpha=None, size_hw=HW):
    if rgb is None:
        rgb, alpha = standing()
    return place_person(rgb, alpha, bounding_box(alpha), parse_layout(text), size_hw)


def box_of(text: str, size_hw=HW) -> Box:
    found = bounding_box(placed(text, size_hw=size_hw).alpha)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("x:0.3,y:1,scale:0.6,flip:true", Layout((PersonCopy(0.3, 1.0, 0.6, True),))),
        ("flip:true", Layout((PersonCopy(flip=True),))),
        ("scale:2", Layout((PersonCopy(scale=2.0),))),
        ("x:.5;x:-1,flip:false", Layout((PersonCopy(0.5), PersonCopy(-1.0)))),
        ("y:2.,x:1", Layout((PersonCopy(1.0, 2.0),))),
        ("x:0.30000000000000004", Layout((PersonCopy(0.3),))),
        ("x:-0.0000001", Layout((PersonCopy(0.0),))),
    ],
)
def test_layout_is_parsed_from_text(text, layout):
    assert parse_layout(text) == layout


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("flip:true,scale:0.50,y:1.0,x:00.30", "x:0.3,y:1,scale:0.5,flip:true"),
        ("scale:1,x:0,flip:false", "x:0"),
        ("scale:1", "scale:1"),
        ("flip:false", "scale:1"),
        ("flip:true;x:-0.0", "flip:true;x:0"),
    ],
)
def test_layout_text_is_canonical(text, canonical):
    assert str(parse_layout(text)) == canonical


@given(st.builds(Layout, st.lists(copies, min_size=1, max_size=MAX_COPIES).map(tuple)))
def test_layout_text_parses_to_same_layout(layout):
    assert parse_layout(str(layout)) == layout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be copies such as"),
        (";", "must be copies such as"),
        ("x:0.5;", "must be copies such as"),
        ("x", "not 'x'"),
        ("x=0.5", "not 'x=0.5'"),
        ("x:0.5, y:1", "not ' y:1'"),
        ("angle:5", "not 'angle:5'"),
        ("x:0.5,x:0.5", "x is given twice"),
        ("x:", "x must be a number from -1 to 2, not ''"),
        ("x:nan", "x must be a number from -1 to 2, not 'nan'"),
        ("x:1e0", "x must be a number from -1 to 2, not '1e0'"),
        ("y:2.01", "y must be a number from -1 to 2, not '2.01'"),
        ("y:-1.5", "y must be a number from -1 to 2, not '-1.5'"),
        ("scale:0", "scale must be a number from 0.05 to 4, not '0'"),
        ("scale:4.1", "scale must be a number from 0.05 to 4, not '4.1'"),
        ("flip:yes", "flip must be true or false, not 'yes'"),
        (";".join(["x:1"] * 9), "at most 8 copies, not 9"),
    ],
)
def test_invalid_layout_text_raises_with_allowed_values(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_layout(text)


@given(st.text("xyscaleflip:;,.0123456789-true ", max_size=60))
def test_layout_of_any_text_is_parsed_or_refused(text):
    try:
        layout = parse_layout(text)
    except ValueError:
        return
    assert parse_layout(str(layout)) == layout


def test_person_in_place_keeps_every_pixel():
    rgb, alpha = standing()
    shown = placed("scale:1")
    np.testing.assert_array_equal(shown.alpha, alpha)
    np.testing.assert_array_equal(shown.rgb, cutout(rgb, alpha)[..., :3])


@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 30))))
def test_mask_in_place_keeps_every_pixel(alpha):
    rgb = np.random.default_rng(0).integers(0, 256, (*alpha.shape, 3)).astype(np.uint8)
    box = bounding_box(alpha)
    shown = place_person(rgb, alpha, box, parse_layout("scale:1"), alpha.shape)
    expected = cutout(rgb, alpha) if box else np.zeros((*alpha.shape, 4), np.uint8)
    np.testing.assert_array_equal(shown.alpha, expected[..., 3])
    np.testing.assert_array_equal(shown.rgb, expected[..., :3])


def test_person_at_explicit_own_position_keeps_every_pixel():
    _, alpha = standing()
    box = bounding_box(alpha)
    x = (box.left + box.width / 2) / HW[1]
    named = placed(f"x:{x:.6f},y:{(box.top + box.height) / HW[0]:.6f},scale:1")
    np.testing.assert_array_equal(named.alpha, alpha)


def test_mirrored_person_stays_in_bounding_box():
    shown, mirrored = placed("scale:1"), placed("flip:true")
    box = bounding_box(shown.alpha)
    assert bounding_box(mirrored.alpha) == box
    columns = slice(box.left, box.left + box.width)
    np.testing.assert_array_equal(mirrored.rgb[:, columns], shown.rgb[:, columns][:, ::-1])
    assert (mirrored.alpha != shown.alpha).any()


def test_person_mirrored_twice_is_unchanged():
    shown = placed("scale:1")
    again = placed("flip:true", *placed("flip:true"))
    np.testing.assert_array_equal(again.alpha, shown.alpha)
    np.testing.assert_array_equal(again.rgb, shown.rgb)


def test_moved_person_keeps_pixels():
    shown = placed("scale:1")
    box = bounding_box(shown.alpha)
    moved = placed(f"x:{(box.left + box.width / 2 + 40) / HW[1]:.6f}")
    np.testing.assert_array_equal(moved.alpha[:, 40:], shown.alpha[:, :-40])
    np.testing.assert_array_equal(moved.rgb[:, 40:], shown.rgb[:, :-40])


@pytest.mark.parametrize("scale", [0.05, 0.1, 0.37, 0.5, 0.8, 1, 1.7])
@pytest.mark.parametrize("flip", ["true", "false"])
@pytest.mark.parametrize(("x", "y"), [(0.5, 1), (0.25, 0.8), (0.75, 0.9)])
def test_person_has_requested_position_and_size(scale, flip, x, y):
    before = box_of("scale:1")
    after = box_of(f"x:{x},y:{y},scale:{scale},flip:{flip}", size_hw=(480, 640))
    assert after.top + after.height == pytest.approx(480 * y, abs=1)
    assert after.left + after.width / 2 == pytest.approx(640 * x, abs=1.5)
    assert after.height == pytest.approx(before.height * scale, abs=2)
    assert after.width == pytest.approx(before.width * scale, abs=2)


@pytest.mark.parametrize("scale", [0.3, 1, 2, 3.3])
def test_person_cut_off_by_border_stays_cut_off(scale):
    shown = placed(f"x:0.5,y:1,scale:{scale}")
    assert shown.alpha[-1].max() == 255
    assert shown.alpha[-1, 160] == 255


def test_person_scaled_down_does_not_alias():
    """Black and white lines, each one pixel wide, become grey at every scale."""
    rgb = np.zeros((256, 256, 3), np.uint8)
    rgb[:, ::2] = 255
    alpha = np.full((256, 256), 255, np.uint8)
    for scale in (0.05, 0.1, 0.25, 0.3, 0.45, 0.5):
        shown = placed(f"scale:{scale}", rgb, alpha, (256, 256))
        inside = shown.rgb[shown.alpha == 255].astype(int)
        assert np.abs(inside - 127.5).max() < 40, scale


@pytest.mark.parametrize("scale", [0.07, 0.3, 0.5, 0.9, 2.3])
def test_scaled_person_has_no_old_background(scale):
    """The mask is hard around red on blue. Edges of the copy have less alpha but no blue."""
    rgb, alpha = np.full((200, 200, 3), (0, 0, 255), np.uint8), np.zeros((200, 200), np.uint8)
    alpha[51:149, 53:147] = 255
    rgb[alpha > 0] = (255, 0, 0)
    shown = placed(f"x:0.41,y:0.87,scale:{scale}", rgb, alpha, (200, 200))
    assert (shown.rgb[shown.alpha > 0] == (255, 0, 0)).all()


def test_pixels_with_alpha_rounded_to_zero_have_no_colour():
    rgb, alpha = solid((1, 3), (7, 130, 250)), np.array([[1, 0, 1]], np.uint8)
    shown = place_person(rgb, alpha, Box(0, 0, 1, 3), parse_layout("x:0.5,scale:4"), (4, 12))
    assert set(shown.alpha.flat) == {0, 1}
    assert not shown.rgb[shown.alpha == 0].any()


def test_later_copies_are_in_front():
    back, front = placed("scale:1"), placed("x:0.6,scale:0.7")
    both = placed("scale:1;x:0.6,scale:0.7")
    green = solid(HW, (0, 180, 60))
    expected = composite(front.rgb, front.alpha, composite(back.rgb, back.alpha, green))
    shown = composite(both.rgb, both.alpha, green)
    assert np.abs(shown.astype(int) - expected).max() <= 2
    np.testing.assert_array_equal(both.rgb[front.alpha == 255], front.rgb[front.alpha == 255])
    only_back = (front.alpha == 0) & (back.alpha > 0)
    np.testing.assert_array_equal(both.rgb[only_back], back.rgb[only_back])


def test_mask_of_layout_covers_all_copies():
    back, front = placed("scale:1").alpha / 255, placed("x:0.6,scale:0.7,flip:true").alpha / 255
    both = placed("scale:1;x:0.6,scale:0.7,flip:true").alpha / 255
    assert np.abs(both - (1 - (1 - back) * (1 - front))).max() < 1.1 / 255


@given(layouts)
def test_mask_alone_matches_alpha_of_layer(layout):
    rgb, alpha = standing()
    box = bounding_box(alpha)
    both = place_person(rgb, alpha, box, layout, HW)
    np.testing.assert_array_equal(place_person_mask(alpha, box, layout, HW), both.alpha)


def test_photo_without_person_gives_empty_canvas():
    empty = np.zeros(HW, np.uint8)
    assert not place_person(person(), empty, None, parse_layout("scale:2"), HW).alpha.any()
    haze = np.full(HW, 90, np.uint8)
    assert not place_person(person(), haze, None, parse_layout("scale:2"), HW).alpha.any()


@pytest.mark.parametrize("text", ["x:-1", "x:2", "y:-1", "x:2,y:2,scale:0.05,flip:true"])
def test_person_outside_canvas_is_invisible(text):
    assert not placed(text).alpha.any()


@given(
    npst.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70))),
    layouts,
    st.tuples(st.integers(1, 150), st.integers(1, 150)),
    st.data(),
)
def test_layout_of_any_mask_and_box_fits_canvas(alpha, layout, size_hw, data):
    top, left = (data.draw(st.integers(0, side - 1)) for side in alpha.shape)
    height = data.draw(st.integers(1, alpha.shape[0] - top))
    width = data.draw(st.integers(1, alpha.shape[1] - left))
    colour = np.array([7, 130, 250])
    rgb = np.full((*alpha.shape, 3), colour, np.uint8)
    before = alpha.copy()
    shown = place_person(rgb, alpha, Box(top, left, height, width), layout, size_hw)
    assert shown.rgb.shape == (*size_hw, 3)
    assert shown.alpha.shape == size_hw
    assert shown.rgb.dtype == shown.alpha.dtype == np.uint8
    np.testing.assert_array_equal(alpha, before)
    assert not shown.rgb[shown.alpha == 0].any()
    # A single colour stays the same where alpha is high enough to represent it.
    solid = shown.alpha > 30
    assert np.abs(shown.rgb[solid].astype(int) - colour).max(initial=0) <= 5


@given(copies)
def test_copies_at_same_position_do_not_reduce_alpha(copy):
    rgb, alpha = standing()
    box = bounding_box(alpha)
    once = place_person(rgb, alpha, box, Layout((copy,)), HW)
    thrice = place_person(rgb, alpha, box, Layout((copy, replace(copy), replace(copy))), HW)
    assert (thrice.alpha >= once.alpha).all()
    np.testing.assert_array_equal(thrice.rgb[once.alpha == 255], once.rgb[once.alpha == 255])
