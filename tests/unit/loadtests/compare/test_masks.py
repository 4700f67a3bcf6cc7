"""Tests of reading and comparing masks."""

import cv2
import numpy as np
import pytest

from loadtests.compare.masks import (
    InvalidMask,
    ResponseBodies,
    intersection_over_union,
    read_mask,
)
from tests.support.mask_server import mask_png


def png(*shape: int, dtype: type = np.uint8) -> bytes:
    return cv2.imencode(".png", np.zeros(shape, dtype))[1].tobytes()


def test_mask_is_read_from_png():
    mask = read_mask(mask_png())
    assert mask.shape == (720, 1280)
    assert mask[:, :640].min() == 255
    assert mask[:, 640:].max() == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"nothing", "not a PNG"),
        (mask_png()[:100], "an incomplete PNG"),
        (png(72, 128), r"\(72, 128\)"),
        (png(720, 1280, 3), r"\(720, 1280, 3\)"),
        (png(720, 1280, dtype=np.uint16), "uint16"),
    ],
)
def test_body_that_is_not_a_mask_raises(body, reason):
    with pytest.raises(InvalidMask, match=reason):
        read_mask(body)


def test_intersection_over_union_is_shared_part_of_masks():
    left, most = np.zeros((2, 4, 8), np.uint8)
    left[:, :4] = 200
    most[:, 2:] = 128
    assert intersection_over_union(left, left) == 1
    assert intersection_over_union(left, most) == pytest.approx(2 / 8)
    assert intersection_over_union(left, np.full_like(left, 127)) == 0
    assert intersection_over_union(np.zeros_like(left), np.zeros_like(left)) == 1


def test_invalid_bodies_are_counted_by_reason():
    bodies = ResponseBodies()
    for body in (mask_png(), b"bad", b"bad", png(1, 1), mask_png()):
        bodies.add(body)
    assert bodies.count_invalid() == {"not a PNG": 2, "a PNG of uint8 (1, 1)": 1}
