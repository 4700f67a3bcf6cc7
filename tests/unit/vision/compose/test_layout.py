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
    """The portrait with a soft mask that the bottom of the photo cuts off, and is not symmetric."""
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


class TestText:
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
    def test_is_read(self, text, layout):
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
    def test_has_one_form(self, text, canonical):
        assert str(parse_layout(text)) == canonical

    @given(st.builds(Layout, st.lists(copies, min_size=1, max_size=MAX_COPIES).map(tuple)))
    def test_of_a_layout_reads_as_that_layout(self, layout):
        assert parse_layout(str(layout)) == layout

    @pytest.mark.parametrize(
        ("text", "says"),
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
    def test_that_is_wrong_says_what_is_allowed(self, text, says):
        with pytest.raises(ValueError, match=re.escape(says)):
            parse_layout(text)

    @given(st.text("xyscaleflip:;,.0123456789-true ", max_size=60))
    def test_of_any_kind_is_read_or_refused(self, text):
        try:
            layout = parse_layout(text)
        except ValueError:
            return
        assert parse_layout(str(layout)) == layout


class TestPlace:
    def test_left_as_it_is_keeps_every_pixel(self):
        rgb, alpha = standing()
        shown = placed("scale:1")
        np.testing.assert_array_equal(shown.alpha, alpha)
        np.testing.assert_array_equal(shown.rgb, cutout(rgb, alpha)[..., :3])

    @given(npst.arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 30))))
    def test_any_mask_left_as_it_is_keeps_every_pixel(self, alpha):
        rgb = np.random.default_rng(0).integers(0, 256, (*alpha.shape, 3)).astype(np.uint8)
        box = bounding_box(alpha)
        shown = place_person(rgb, alpha, box, parse_layout("scale:1"), alpha.shape)
        expected = cutout(rgb, alpha) if box else np.zeros((*alpha.shape, 4), np.uint8)
        np.testing.assert_array_equal(shown.alpha, expected[..., 3])
        np.testing.assert_array_equal(shown.rgb, expected[..., :3])

    def test_where_it_is_by_name_keeps_every_pixel(self):
        _, alpha = standing()
        box = bounding_box(alpha)
        x = (box.left + box.width / 2) / HW[1]
        named = placed(f"x:{x:.6f},y:{(box.top + box.height) / HW[0]:.6f},scale:1")
        np.testing.assert_array_equal(named.alpha, alpha)

    def test_mirrored_is_mirrored_in_its_box(self):
        shown, mirrored = placed("scale:1"), placed("flip:true")
        box = bounding_box(shown.alpha)
        assert bounding_box(mirrored.alpha) == box
        columns = slice(box.left, box.left + box.width)
        np.testing.assert_array_equal(mirrored.rgb[:, columns], shown.rgb[:, columns][:, ::-1])
        assert (mirrored.alpha != shown.alpha).any()

    def test_mirrored_twice_is_the_same(self):
        shown = placed("scale:1")
        again = placed("flip:true", *placed("flip:true"))
        np.testing.assert_array_equal(again.alpha, shown.alpha)
        np.testing.assert_array_equal(again.rgb, shown.rgb)

    def test_moved_keeps_its_pixels(self):
        shown = placed("scale:1")
        box = bounding_box(shown.alpha)
        moved = placed(f"x:{(box.left + box.width / 2 + 40) / HW[1]:.6f}")
        np.testing.assert_array_equal(moved.alpha[:, 40:], shown.alpha[:, :-40])
        np.testing.assert_array_equal(moved.rgb[:, 40:], shown.rgb[:, :-40])

    @pytest.mark.parametrize("scale", [0.05, 0.1, 0.37, 0.5, 0.8, 1, 1.7])
    @pytest.mark.parametrize("flip", ["true", "false"])
    @pytest.mark.parametrize(("x", "y"), [(0.5, 1), (0.25, 0.8), (0.75, 0.9)])
    def test_stands_where_it_is_told_at_the_size_it_is_told(self, scale, flip, x, y):
        before = box_of("scale:1")
        after = box_of(f"x:{x},y:{y},scale:{scale},flip:{flip}", size_hw=(480, 640))
        assert after.top + after.height == pytest.approx(480 * y, abs=1)
        assert after.left + after.width / 2 == pytest.approx(640 * x, abs=1.5)
        assert after.height == pytest.approx(before.height * scale, abs=2)
        assert after.width == pytest.approx(before.width * scale, abs=2)

    @pytest.mark.parametrize("scale", [0.3, 1, 2, 3.3])
    def test_who_is_cut_off_by_the_border_still_is(self, scale):
        shown = placed(f"x:0.5,y:1,scale:{scale}")
        assert shown.alpha[-1].max() == 255
        assert shown.alpha[-1, 160] == 255

    def test_scaled_down_nothing_aliases(self):
        """Black and white lines of a pixel each become grey, at every size."""
        rgb = np.zeros((256, 256, 3), np.uint8)
        rgb[:, ::2] = 255
        alpha = np.full((256, 256), 255, np.uint8)
        for scale in (0.05, 0.1, 0.25, 0.3, 0.45, 0.5):
            shown = placed(f"scale:{scale}", rgb, alpha, (256, 256))
            inside = shown.rgb[shown.alpha == 255].astype(int)
            assert np.abs(inside - 127.5).max() < 40, scale

    @pytest.mark.parametrize("scale", [0.07, 0.3, 0.5, 0.9, 2.3])
    def test_the_old_background_stays_behind(self, scale):
        """A hard mask round red on blue: at its edge there is less of it, and no blue in it."""
        rgb, alpha = np.full((200, 200, 3), (0, 0, 255), np.uint8), np.zeros((200, 200), np.uint8)
        alpha[51:149, 53:147] = 255
        rgb[alpha > 0] = (255, 0, 0)
        shown = placed(f"x:0.41,y:0.87,scale:{scale}", rgb, alpha, (200, 200))
        assert (shown.rgb[shown.alpha > 0] == (255, 0, 0)).all()

    def test_a_haze_that_scaling_rounds_to_nothing_has_no_colour(self):
        rgb, alpha = solid((1, 3), (7, 130, 250)), np.array([[1, 0, 1]], np.uint8)
        shown = place_person(rgb, alpha, Box(0, 0, 1, 3), parse_layout("x:0.5,scale:4"), (4, 12))
        assert set(shown.alpha.flat) == {0, 1}
        assert not shown.rgb[shown.alpha == 0].any()

    def test_later_copies_stand_in_front(self):
        back, front = placed("scale:1"), placed("x:0.6,scale:0.7")
        both = placed("scale:1;x:0.6,scale:0.7")
        green = solid(HW, (0, 180, 60))
        expected = composite(front.rgb, front.alpha, composite(back.rgb, back.alpha, green))
        shown = composite(both.rgb, both.alpha, green)
        assert np.abs(shown.astype(int) - expected).max() <= 2
        np.testing.assert_array_equal(both.rgb[front.alpha == 255], front.rgb[front.alpha == 255])
        only_back = (front.alpha == 0) & (back.alpha > 0)
        np.testing.assert_array_equal(both.rgb[only_back], back.rgb[only_back])

    def test_the_mask_is_that_of_all_copies(self):
        back, front = placed("scale:1").alpha / 255, placed("x:0.6,scale:0.7,flip:true").alpha / 255
        both = placed("scale:1;x:0.6,scale:0.7,flip:true").alpha / 255
        assert np.abs(both - (1 - (1 - back) * (1 - front))).max() < 1.1 / 255

    @given(layouts)
    def test_the_mask_alone_is_the_same(self, layout):
        rgb, alpha = standing()
        box = bounding_box(alpha)
        both = place_person(rgb, alpha, box, layout, HW)
        np.testing.assert_array_equal(place_person_mask(alpha, box, layout, HW), both.alpha)

    def test_nobody_is_nowhere(self):
        empty = np.zeros(HW, np.uint8)
        assert not place_person(person(), empty, None, parse_layout("scale:2"), HW).alpha.any()
        haze = np.full(HW, 90, np.uint8)
        assert not place_person(person(), haze, None, parse_layout("scale:2"), HW).alpha.any()

    @pytest.mark.parametrize("text", ["x:-1", "x:2", "y:-1", "x:2,y:2,scale:0.05,flip:true"])
    def test_who_is_outside_is_not_seen(self, text):
        assert not placed(text).alpha.any()

    @given(
        npst.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70))),
        layouts,
        st.tuples(st.integers(1, 150), st.integers(1, 150)),
        st.data(),
    )
    def test_any_layout_of_any_mask_and_box_fits_the_canvas(self, alpha, layout, size_hw, data):
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
        # One colour stays one colour, as far as so little of it can tell.
        solid = shown.alpha > 30
        assert np.abs(shown.rgb[solid].astype(int) - colour).max(initial=0) <= 5

    @given(copies)
    def test_one_in_front_of_itself_is_as_dense_as_can_be(self, copy):
        rgb, alpha = standing()
        box = bounding_box(alpha)
        once = place_person(rgb, alpha, box, Layout((copy,)), HW)
        thrice = place_person(rgb, alpha, box, Layout((copy, replace(copy), replace(copy))), HW)
        assert (thrice.alpha >= once.alpha).all()
        np.testing.assert_array_equal(thrice.rgb[once.alpha == 255], once.rgb[once.alpha == 255])
