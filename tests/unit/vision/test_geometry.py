import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from silhouette_seg.spec import ResizeRule
from silhouette_seg.vision.geometry import LETTERBOX_GREY, fit, inside, place, resize, unfit
from tests.support.images import person

sides = st.integers(1, 400)
sizes = st.tuples(sides, sides)
inputs = st.tuples(st.integers(8, 128), st.integers(8, 128))
rules = st.sampled_from(ResizeRule)


@given(sizes, inputs, rules)
@example((1, 400), (64, 64), ResizeRule.LETTERBOX)
@example((400, 1), (64, 64), ResizeRule.LETTERBOX)
@example((1, 1), (64, 64), ResizeRule.STRETCH)
def test_placement_lies_inside_model_input(photo_hw, size_hw, rule):
    placement = place(photo_hw, size_hw, rule)
    assert placement.size_hw == size_hw
    for start, length, side in (
        (placement.top, placement.height, size_hw[0]),
        (placement.left, placement.width, size_hw[1]),
    ):
        assert length >= 1
        assert 0 <= start <= side - length


@given(sizes, inputs)
def test_stretch_fills_model_input(photo_hw, size_hw):
    placement = place(photo_hw, size_hw, ResizeRule.STRETCH)
    assert (placement.top, placement.left) == (0, 0)
    assert (placement.height, placement.width) == size_hw


@given(sizes, inputs)
def test_letterbox_keeps_aspect_ratio_and_is_centred(photo_hw, size_hw):
    placement = place(photo_hw, size_hw, ResizeRule.LETTERBOX)
    assert placement.height == size_hw[0] or placement.width == size_hw[1]
    scale = min(size_hw[0] / photo_hw[0], size_hw[1] / photo_hw[1])
    assert abs(placement.height - max(1, photo_hw[0] * scale)) <= 0.5
    assert abs(placement.width - max(1, photo_hw[1] * scale)) <= 0.5
    below = size_hw[0] - placement.top - placement.height
    right = size_hw[1] - placement.left - placement.width
    assert 0 <= below - placement.top <= 1
    assert 0 <= right - placement.left <= 1


@given(sizes, inputs, rules, st.integers(0, 255))
def test_fit_and_unfit_of_one_level_is_exact(photo_hw, size_hw, rule, level):
    """The border colour must not leak into the photo, in either direction."""
    photo = np.full((*photo_hw, 3), level, np.uint8)
    fitted, placement = fit(photo, size_hw, rule)
    assert fitted.shape == (*size_hw, 3)
    assert (fitted[inside(placement)] == level).all()
    outside = np.ones(size_hw, bool)
    outside[inside(placement)] = False
    assert (fitted[outside] == LETTERBOX_GREY).all()
    back = unfit(np.ascontiguousarray(fitted[..., 0]), placement, photo_hw)
    assert back.shape == photo_hw
    assert (back == level).all()


@given(
    st.tuples(st.integers(100, 300), st.integers(100, 300)),
    rules,
    st.tuples(st.floats(0.25, 0.75), st.floats(0.25, 0.75)),
)
def test_fit_and_unfit_keep_positions(photo_hw, rule, centre):
    """The centre of a disc moves by less than a pixel."""
    rows, columns = np.ogrid[: photo_hw[0], : photo_hw[1]]
    at = centre[0] * photo_hw[0], centre[1] * photo_hw[1]
    disc = (np.hypot(rows - at[0], columns - at[1]) < 22).astype(np.uint8) * 255
    fitted, placement = fit(np.dstack([disc] * 3), (128, 128), rule)
    back = unfit(np.ascontiguousarray(fitted[..., 0]), placement, photo_hw).astype(float)
    assert np.average(np.arange(photo_hw[0]), weights=back.sum(1)) == pytest.approx(
        np.average(np.arange(photo_hw[0]), weights=disc.sum(1)), abs=0.75
    )
    assert np.average(np.arange(photo_hw[1]), weights=back.sum(0)) == pytest.approx(
        np.average(np.arange(photo_hw[1]), weights=disc.sum(0)), abs=0.75
    )


@given(sizes, sizes)
def test_resize_returns_any_size_from_any_size(source, target):
    assert (resize(np.full(source, 50, np.uint8), target) == 50).all()
    assert resize(np.zeros((*source, 3), np.uint8), target).shape == (*target, 3)


def test_resize_does_not_alias():
    """Stripes of one pixel average to grey. One bilinear step would keep some of them."""
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize(stripes, (60, 60)).astype(int) - 128).max() <= 2


def test_resize_is_close_to_area_average():
    photo = person(480, 640)
    reference = np.asarray(Image.fromarray(photo).resize((96, 64), Image.Resampling.BOX))
    assert np.abs(resize(photo, (64, 96)).astype(int) - reference).mean() < 4
