"""Masks in COCO's encodings, compared with pycocotools, the reference."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from pycocotools import mask as reference

from silhouette_seg.errors import UnprocessableImage
from silhouette_seg.vision.mask import coco
from silhouette_seg.vision.mask.quality import Box

MIN_IOU = 0.97
"""Smallest agreement of a mask and its polygons, as the documentation states it."""

# pycocotools 2.0.11 does not yet have the signature of `__array__` that numpy 2 asks for.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

binary = npst.arrays(
    np.uint8,
    npst.array_shapes(min_dims=2, max_dims=2, max_side=24),
    elements=st.sampled_from([0, 255]),
)


def whole(mask: NDArray[np.uint8]) -> Box:
    return Box(0, 0, *mask.shape)


def rasterised(polygons: list[list[float]], hw: tuple[int, int]) -> NDArray[np.bool_]:
    if not polygons:
        return np.zeros(hw, np.bool_)
    return reference.decode(reference.merge(reference.frPyObjects(polygons, *hw))) > 0


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def disc(radius: int, hole: int = 0) -> NDArray[np.uint8]:
    side = 2 * radius + 9
    mask = np.zeros((side, side + 30), np.uint8)
    cv2.circle(mask, (side // 2 + 20, side // 2), radius, 255, cv2.FILLED)
    if hole:
        cv2.circle(mask, (side // 2 + 20, side // 2), hole, 0, cv2.FILLED)
    return mask


@pytest.mark.parametrize(
    ("rows", "lengths", "counts"),
    [
        (["000", "000"], [6], "6"),
        (["111", "111"], [0, 6], "06"),
        (["010", "011"], [2, 2, 1, 1], "221O"),
        (["011", "110"], [1, 4, 1], "141"),
    ],
)
def test_run_lengths_are_golden(rows, lengths, counts):
    """They count column by column. From the fourth on, the text holds differences."""
    mask = np.array([[255 * int(cell) for cell in row] for row in rows], np.uint8)
    runs = coco.run_lengths(mask, whole(mask), mask.shape)
    assert runs.tolist() == lengths
    assert coco.encode_rle(mask, whole(mask), mask.shape) == counts


@given(mask=binary)
def test_run_lengths_equal_those_of_the_reference(mask):
    counts = coco.encode_rle(mask, whole(mask), mask.shape)
    assert counts == reference.encode(np.asfortranarray(mask > 0))["counts"].decode()
    decoded = reference.decode({"size": list(mask.shape), "counts": counts})
    assert (decoded == (mask > 0)).all()


@given(
    mask=binary,
    top=st.integers(0, 3),
    left=st.integers(0, 3),
    below=st.integers(0, 3),
    right=st.integers(0, 3),
)
def test_part_of_a_mask_encodes_like_the_whole(mask, top, left, below, right):
    photo = np.pad(mask, ((top, below), (left, right)))
    counts = coco.encode_rle(mask, Box(top, left, *mask.shape), photo.shape)
    assert counts == coco.encode_rle(photo, whole(photo), photo.shape)


@given(lengths=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=12))
def test_compressed_lengths_of_any_size_equal_the_reference(lengths):
    runs = {"size": [1, sum(lengths)], "counts": lengths}
    expected = reference.frPyObjects(runs, 1, sum(lengths))["counts"].decode()
    assert coco.compress(np.array(lengths, np.int64)) == expected


@given(mask=binary)
def test_polygons_of_any_mask_agree_with_it(mask):
    polygons = coco.to_polygons(mask, whole(mask))
    assert iou(rasterised(polygons, mask.shape), mask > 0) >= MIN_IOU
    assert all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons)


@pytest.mark.parametrize(("radius", "hole"), [(3, 0), (20, 0), (20, 10), (20, 18), (150, 60)])
def test_polygon_of_a_ring_keeps_its_hole(radius, hole):
    mask = disc(radius, hole)
    (polygon,) = coco.to_polygons(mask, whole(mask))
    assert iou(rasterised([polygon], mask.shape), mask > 0) >= MIN_IOU


def test_polygon_of_a_rectangle_is_golden():
    """Corners lie on the edges of the pixels, as in pycocotools."""
    mask = np.zeros((8, 9), np.uint8)
    mask[2:5, 3:7] = 255
    (polygon,) = coco.to_polygons(mask[2:5, 3:7], Box(2, 3, 3, 4))
    corners = {tuple(corner) for corner in np.reshape(polygon, (-1, 2)).tolist()}
    assert corners == {(3, 2), (7, 2), (7, 5), (3, 5)}
    assert reference.area(reference.frPyObjects([polygon], 8, 9)).tolist() == [12]


def test_polygons_of_separate_parts_begin_with_the_largest():
    mask = np.zeros((30, 30), np.uint8)
    mask[25:27, 1:3], mask[2:20, 2:20] = 255, 255
    large, small = coco.to_polygons(mask, whole(mask))
    assert (max(large), max(small)) == (20, 27)


def test_simple_outline_has_few_corners():
    mask = disc(400)
    (polygon,) = coco.to_polygons(mask, whole(mask))
    assert len(polygon) / 2 < 2 * np.pi * 400 / 10


def test_outline_of_a_huge_mask_is_traced_at_a_reduced_size():
    mask = np.zeros((coco.MAX_TRACED_SIDE + 904, 40), np.uint8)
    mask[100:4900, 10:30] = 255
    (polygon,) = coco.to_polygons(mask, whole(mask))
    assert iou(rasterised([polygon], mask.shape), mask > 0) >= MIN_IOU


def test_mask_with_too_many_edges_is_refused(monkeypatch):
    monkeypatch.setattr(coco, "MAX_RUNS", 10)
    stripes = np.tile(np.uint8([[255], [0]]), (20, 1))
    for encode in (coco.to_polygons, lambda mask, box: coco.encode_rle(mask, box, mask.shape)):
        with pytest.raises(UnprocessableImage) as error:
            encode(stripes, whole(stripes))
        assert (error.value.limit, error.value.actual) == (10, 40)


def test_mask_with_too_many_holes_has_no_polygons(monkeypatch):
    monkeypatch.setattr(coco, "MAX_HOLES", 3)
    mask = np.full((9, 30), 255, np.uint8)
    mask[4, 2:28:3] = 0
    with pytest.raises(UnprocessableImage, match="masks=rle"):
        coco.to_polygons(mask, whole(mask))
