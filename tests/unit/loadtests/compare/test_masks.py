"""Masks are read and compared."""

import cv2
import numpy as np
import pytest

from loadtests.compare.masks import BadMask, Bodies, agreement, read_mask
from tests.support.mask_server import mask_png


def png(*shape: int, dtype: type = np.uint8) -> bytes:
    return cv2.imencode(".png", np.zeros(shape, dtype))[1].tobytes()


def test_a_mask_is_read():
    mask = read_mask(mask_png())
    assert mask.shape == (720, 1280)
    assert mask[:, :640].min() == 255
    assert mask[:, 640:].max() == 0


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"nothing", "no PNG"),
        (mask_png()[:100], "not whole"),
        (png(72, 128), r"\(72, 128\)"),
        (png(720, 1280, 3), r"\(720, 1280, 3\)"),
        (png(720, 1280, dtype=np.uint16), "uint16"),
    ],
)
def test_what_is_no_mask_of_the_photo_is_refused(body, what):
    with pytest.raises(BadMask, match=what):
        read_mask(body)


def test_agreement_is_intersection_over_union():
    left, most = np.zeros((2, 4, 8), np.uint8)
    left[:, :4] = 200
    most[:, 2:] = 128
    assert agreement(left, left) == 1
    assert agreement(left, most) == pytest.approx(2 / 8)
    assert agreement(left, np.full_like(left, 127)) == 0
    assert agreement(np.zeros_like(left), np.zeros_like(left)) == 1


def test_each_wrong_answer_counts():
    bodies = Bodies()
    for body in (mask_png(), b"bad", b"bad", png(1, 1), mask_png()):
        bodies.add(body)
    assert bodies.wrong() == {"no PNG": 2, "a PNG of uint8 (1, 1)": 1}
