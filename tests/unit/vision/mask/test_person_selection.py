"""Whom `person=dominant` keeps, on made masks: people are ellipses with a round head."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from silhouette_seg.vision.mask.person_selection import (
    MAX_REPORTED,
    PieceReason,
    find_pieces,
    select_dominant,
)
from silhouette_seg.vision.mask.quality import Box, feather

masks = npst.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)))
faces = st.one_of(st.none(), st.builds(Box, *[st.integers(0, 23)] * 2, *[st.integers(1, 24)] * 2))

HEAD = 0.15
"""Of a person's height."""


def scene(*drawn: np.ndarray, height=300, width=400) -> np.ndarray:
    """The masks over one another; an empty picture without any."""
    return np.maximum.reduce([np.zeros((height, width), np.uint8), *drawn])


def someone(middle: int, top: int, tall: int, *, height=300, width=400) -> np.ndarray:
    """A person of that height whose head begins at `top`."""
    alpha = np.zeros((height, width), np.uint8)
    head = round(HEAD * tall)
    cv2.circle(alpha, (middle, top + head // 2), head // 2, 255, cv2.FILLED)
    body = tall - head
    cv2.ellipse(
        alpha, (middle, top + head + body // 2 - 2), (tall // 6, body // 2), 0, 0, 360, 255, -1
    )
    return alpha


def face_of(middle: int, top: int, tall: int) -> Box:
    head = round(HEAD * tall)
    return Box(top, middle - head // 2, head, head)


def patch(top: int, left: int, height: int, width: int) -> np.ndarray:
    alpha = np.zeros((300, 400), np.uint8)
    alpha[top : top + height, left : left + width] = 255
    return alpha


def reasons(told: Sequence) -> list[str]:
    return [piece.reason for piece in told]


def test_an_empty_mask_has_no_pieces():
    empty = scene()
    assert find_pieces(empty) == ()
    kept, told = select_dominant(empty, face_of(200, 20, 200))
    assert told == ()
    np.testing.assert_array_equal(kept, empty)


def test_one_person_is_left_as_it_is():
    alpha = feather(someone(200, 20, 250), 4)
    kept, (only,) = select_dominant(alpha, face_of(200, 20, 250))
    assert kept is alpha
    assert (only.share, only.kept, only.reason) == (1.0, True, PieceReason.DOMINANT)


def test_the_face_decides_between_two_people():
    small, large = someone(80, 120, 160), someone(280, 20, 270)
    alpha = scene(small, large)
    kept, told = select_dominant(alpha, face_of(80, 120, 160))
    np.testing.assert_array_equal(kept, small)
    assert reasons(told) == [PieceReason.OTHER, PieceReason.DOMINANT]
    kept, told = select_dominant(alpha, face_of(280, 20, 270))
    np.testing.assert_array_equal(kept, large)
    assert reasons(told) == [PieceReason.DOMINANT, PieceReason.OTHER]


def test_without_a_face_the_larger_is_kept_and_the_middle_counts():
    middle, edge = someone(200, 40, 240), someone(370, 30, 262)
    assert edge[:, :399].sum() > middle.sum()
    kept, told = select_dominant(scene(middle, edge), None)
    np.testing.assert_array_equal(kept, middle)
    assert reasons(told) == [PieceReason.OTHER, PieceReason.DOMINANT]
    apart = someone(60, 40, 200), someone(290, 40, 240)
    kept, _ = select_dominant(scene(*apart), None)
    np.testing.assert_array_equal(kept, apart[1])


def test_a_face_where_the_mask_has_nobody_does_not_count():
    alpha = scene(someone(80, 60, 220), someone(300, 200, 80))
    with_face, _ = select_dominant(alpha, face_of(370, 10, 100))
    without, _ = select_dominant(alpha, None)
    np.testing.assert_array_equal(with_face, without)


def test_a_face_beyond_the_picture_does_not_count():
    alpha = scene(someone(80, 60, 220), someone(300, 200, 80))
    kept, _ = select_dominant(alpha, Box(5000, 5000, 40, 40))
    np.testing.assert_array_equal(kept, select_dominant(alpha, None)[0])


def test_a_bystander_at_the_edge_is_rejected():
    """Small enough for an arm, but too far away."""
    alpha = scene(someone(200, 20, 270), someone(385, 150, 80))
    kept, told = select_dominant(alpha, face_of(200, 20, 270))
    np.testing.assert_array_equal(kept, someone(200, 20, 270))
    assert [piece.kept for piece in told] == [True, False]
    assert told[1].reason == PieceReason.OTHER


def test_an_arm_apart_is_kept():
    body, hand = someone(200, 20, 270), patch(100, 252, 40, 14)
    alpha = scene(body, hand)
    kept, told = select_dominant(alpha, face_of(200, 20, 270))
    assert kept is alpha
    assert reasons(told) == [PieceReason.DOMINANT, PieceReason.NEAR]


def test_legs_below_a_table_are_kept_and_a_child_beside_is_not():
    """Alike in size and in their distance."""
    body, legs, child = patch(40, 150, 100, 100), patch(150, 165, 80, 70), patch(60, 260, 70, 80)
    alpha = scene(body, legs, child)
    kept, told = select_dominant(alpha, Box(45, 180, 40, 40))
    np.testing.assert_array_equal(kept, scene(body, legs))
    assert set(reasons(told)) == {PieceReason.DOMINANT, PieceReason.IN_LINE, PieceReason.OTHER}


def test_what_is_above_is_the_same_person_only_where_no_face_says_otherwise():
    """Legs that are larger than the rest are the dominant piece, and have a head."""
    chest, legs = patch(30, 165, 60, 70), patch(110, 150, 160, 100)
    kept, told = select_dominant(scene(chest, legs), None)
    np.testing.assert_array_equal(kept, scene(chest, legs))
    assert reasons(told) == [PieceReason.DOMINANT, PieceReason.IN_LINE]
    kept, told = select_dominant(scene(chest, legs), Box(120, 180, 40, 40))
    np.testing.assert_array_equal(kept, legs)
    assert reasons(told) == [PieceReason.DOMINANT, PieceReason.OTHER]


def test_specks_go_unless_they_are_near():
    body = someone(200, 20, 270)
    strand, far = patch(20, 222, 4, 4), patch(280, 10, 6, 6)
    kept, told = select_dominant(scene(body, strand, far), face_of(200, 20, 270))
    np.testing.assert_array_equal(kept, scene(body, strand))
    assert reasons(told) == [PieceReason.DOMINANT, PieceReason.SPECK, PieceReason.NEAR]


def test_soft_rims_go_with_their_piece():
    one, other = feather(someone(80, 40, 240), 6), feather(someone(300, 40, 240), 6)
    kept, _ = select_dominant(scene(one, other), face_of(80, 40, 240))
    np.testing.assert_array_equal(kept, one)


def test_everyone_is_told_of_where_nobody_chooses():
    alpha = scene(someone(80, 120, 160), someone(280, 20, 270))
    large, small = find_pieces(alpha)
    assert (large.kept, small.kept) == (True, True)
    assert (large.reason, small.reason) == (PieceReason.EVERYONE, PieceReason.EVERYONE)
    assert large.share > small.share
    assert large.share + small.share == pytest.approx(1)


def test_not_more_pieces_are_told_of_than_promised():
    dots = scene(*(patch(10 * n, 12 * n, 4, 4 + n) for n in range(MAX_REPORTED + 8)))
    told = find_pieces(dots)
    assert len(told) == MAX_REPORTED
    assert told[0].share > told[-1].share


def test_boxes_are_in_pixels_of_a_large_photo():
    """To within the pixels of the reduced size, 8 of the photo."""
    alpha = np.zeros((2048, 3072), np.uint8)
    alpha[400:1200, 320:960] = 255
    alpha[400:1200, 2000:3072] = 255
    kept, told = select_dominant(alpha, Box(480, 480, 300, 300))
    assert np.count_nonzero(kept[:, :960]) == 800 * 640
    assert not kept[:, 1990:].any()
    wanted = (400, 2000, 800, 1072), (400, 320, 800, 640)
    for piece, box in zip(told, wanted, strict=True):
        there = piece.box.top, piece.box.left, piece.box.height, piece.box.width
        assert np.abs(np.subtract(there, box)).max() <= 8
        assert piece.box.left + piece.box.width <= 3072


@given(masks, faces)
def test_pixels_are_kept_as_they_are_or_emptied(alpha, face):
    before = alpha.copy()
    kept, told = select_dominant(alpha, face)
    np.testing.assert_array_equal(alpha, before)
    assert ((kept == alpha) | (kept == 0)).all()
    assert bool(told) == bool((alpha > 127).any())
    if len(told) < MAX_REPORTED:
        assert sum(piece.share for piece in told) == pytest.approx(1 if told else 0)


@given(masks, faces)
def test_what_is_emptied_is_what_was_rejected(alpha, face):
    """Every pixel over 127 is in a piece that is told of; here the mask is not reduced."""
    kept, told = select_dominant(alpha, face)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 127).astype(np.uint8))
    left = {bool(kept[labels == n].all()) for n in range(1, count)}
    for n in range(1, count):
        values = kept[labels == n]
        assert values.all() or not values.any()
    if told:
        assert True in left
    shares = sum(piece.share for piece in told if piece.kept)
    if len(told) < MAX_REPORTED:
        total = stats[1:, cv2.CC_STAT_AREA].sum()
        assert np.count_nonzero(kept > 127) == pytest.approx(shares * total)


@given(masks, faces)
def test_choosing_twice_changes_nothing(alpha, face):
    once, _ = select_dominant(alpha, face)
    twice, told = select_dominant(once, face)
    np.testing.assert_array_equal(once, twice)
    assert all(piece.kept for piece in told)
