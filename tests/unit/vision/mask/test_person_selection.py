"""Tests of `person=dominant` on synthetic masks: people are ellipses with a round head."""

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
"""Height of a head as a share of the person's height."""


def scene(*drawn: np.ndarray, height=300, width=400) -> np.ndarray:
    """Returns the union of the masks; an empty mask without any."""
    return np.maximum.reduce([np.zeros((height, width), np.uint8), *drawn])


def person(middle: int, top: int, tall: int, *, height=300, width=400) -> np.ndarray:
    """Returns the mask of a person that is `tall` pixels high and starts at `top`."""
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


def reasons(pieces: Sequence) -> list[str]:
    return [piece.reason for piece in pieces]


def test_empty_mask_has_no_pieces():
    empty = scene()
    assert find_pieces(empty) == ()
    selected, pieces = select_dominant(empty, face_of(200, 20, 200))
    assert pieces == ()
    np.testing.assert_array_equal(selected, empty)


def test_single_person_is_unchanged():
    alpha = feather(person(200, 20, 250), 4)
    selected, (only,) = select_dominant(alpha, face_of(200, 20, 250))
    assert selected is alpha
    assert (only.share, only.kept, only.reason) == (1.0, True, PieceReason.DOMINANT)


def test_face_decides_between_two_people():
    small, large = person(80, 120, 160), person(280, 20, 270)
    alpha = scene(small, large)
    selected, pieces = select_dominant(alpha, face_of(80, 120, 160))
    np.testing.assert_array_equal(selected, small)
    assert reasons(pieces) == [PieceReason.OTHER, PieceReason.DOMINANT]
    selected, pieces = select_dominant(alpha, face_of(280, 20, 270))
    np.testing.assert_array_equal(selected, large)
    assert reasons(pieces) == [PieceReason.DOMINANT, PieceReason.OTHER]


def test_larger_central_person_is_dominant_without_a_face():
    middle, edge = person(200, 40, 240), person(370, 30, 262)
    assert edge[:, :399].sum() > middle.sum()
    selected, pieces = select_dominant(scene(middle, edge), None)
    np.testing.assert_array_equal(selected, middle)
    assert reasons(pieces) == [PieceReason.OTHER, PieceReason.DOMINANT]
    apart = person(60, 40, 200), person(290, 40, 240)
    selected, _ = select_dominant(scene(*apart), None)
    np.testing.assert_array_equal(selected, apart[1])


def test_face_outside_of_the_mask_is_ignored():
    alpha = scene(person(80, 60, 220), person(300, 200, 80))
    with_face, _ = select_dominant(alpha, face_of(370, 10, 100))
    without, _ = select_dominant(alpha, None)
    np.testing.assert_array_equal(with_face, without)


def test_face_outside_of_the_photo_is_ignored():
    alpha = scene(person(80, 60, 220), person(300, 200, 80))
    selected, _ = select_dominant(alpha, Box(5000, 5000, 40, 40))
    np.testing.assert_array_equal(selected, select_dominant(alpha, None)[0])


def test_bystander_at_the_edge_is_rejected():
    """The bystander is as small as an arm, but too far away."""
    alpha = scene(person(200, 20, 270), person(385, 150, 80))
    selected, pieces = select_dominant(alpha, face_of(200, 20, 270))
    np.testing.assert_array_equal(selected, person(200, 20, 270))
    assert [piece.kept for piece in pieces] == [True, False]
    assert pieces[1].reason == PieceReason.OTHER


def test_detached_arm_is_kept():
    body, hand = person(200, 20, 270), patch(100, 252, 40, 14)
    alpha = scene(body, hand)
    selected, pieces = select_dominant(alpha, face_of(200, 20, 270))
    assert selected is alpha
    assert reasons(pieces) == [PieceReason.DOMINANT, PieceReason.NEAR]


def test_legs_below_a_table_are_kept_unlike_a_child_beside():
    """Legs and child have a similar size and distance."""
    body, legs, child = patch(40, 150, 100, 100), patch(150, 165, 80, 70), patch(60, 260, 70, 80)
    alpha = scene(body, legs, child)
    selected, pieces = select_dominant(alpha, Box(45, 180, 40, 40))
    np.testing.assert_array_equal(selected, scene(body, legs))
    assert set(reasons(pieces)) == {PieceReason.DOMINANT, PieceReason.IN_LINE, PieceReason.OTHER}


def test_piece_above_is_kept_only_without_a_face():
    """The legs are larger than the chest and therefore the dominant piece."""
    chest, legs = patch(30, 165, 60, 70), patch(110, 150, 160, 100)
    selected, pieces = select_dominant(scene(chest, legs), None)
    np.testing.assert_array_equal(selected, scene(chest, legs))
    assert reasons(pieces) == [PieceReason.DOMINANT, PieceReason.IN_LINE]
    selected, pieces = select_dominant(scene(chest, legs), Box(120, 180, 40, 40))
    np.testing.assert_array_equal(selected, legs)
    assert reasons(pieces) == [PieceReason.DOMINANT, PieceReason.OTHER]


def test_specks_are_rejected_unless_they_are_near():
    body = person(200, 20, 270)
    strand, far = patch(20, 222, 4, 4), patch(280, 10, 6, 6)
    selected, pieces = select_dominant(scene(body, strand, far), face_of(200, 20, 270))
    np.testing.assert_array_equal(selected, scene(body, strand))
    assert reasons(pieces) == [PieceReason.DOMINANT, PieceReason.SPECK, PieceReason.NEAR]


def test_soft_edges_belong_to_their_piece():
    one, other = feather(person(80, 40, 240), 6), feather(person(300, 40, 240), 6)
    selected, _ = select_dominant(scene(one, other), face_of(80, 40, 240))
    np.testing.assert_array_equal(selected, one)


def test_find_pieces_keeps_everyone():
    alpha = scene(person(80, 120, 160), person(280, 20, 270))
    large, small = find_pieces(alpha)
    assert (large.kept, small.kept) == (True, True)
    assert (large.reason, small.reason) == (PieceReason.EVERYONE, PieceReason.EVERYONE)
    assert large.share > small.share
    assert large.share + small.share == pytest.approx(1)


def test_find_pieces_reports_a_limited_number():
    dots = scene(*(patch(10 * n, 12 * n, 4, 4 + n) for n in range(MAX_REPORTED + 8)))
    pieces = find_pieces(dots)
    assert len(pieces) == MAX_REPORTED
    assert pieces[0].share > pieces[-1].share


def test_boxes_of_pieces_are_in_pixels_of_the_photo():
    """A pixel of the reduced size covers 8 pixels of the photo."""
    alpha = np.zeros((2048, 3072), np.uint8)
    alpha[400:1200, 320:960] = 255
    alpha[400:1200, 2000:3072] = 255
    selected, pieces = select_dominant(alpha, Box(480, 480, 300, 300))
    assert np.count_nonzero(selected[:, :960]) == 800 * 640
    assert not selected[:, 1990:].any()
    expected = (400, 2000, 800, 1072), (400, 320, 800, 640)
    for piece, box in zip(pieces, expected, strict=True):
        there = piece.box.top, piece.box.left, piece.box.height, piece.box.width
        assert np.abs(np.subtract(there, box)).max() <= 8
        assert piece.box.left + piece.box.width <= 3072


@given(masks, faces)
def test_select_dominant_keeps_or_empties_every_pixel(alpha, face):
    before = alpha.copy()
    selected, pieces = select_dominant(alpha, face)
    np.testing.assert_array_equal(alpha, before)
    assert ((selected == alpha) | (selected == 0)).all()
    assert bool(pieces) == bool((alpha > 127).any())
    if len(pieces) < MAX_REPORTED:
        assert sum(piece.share for piece in pieces) == pytest.approx(1 if pieces else 0)


@given(masks, faces)
def test_emptied_pixels_belong_to_rejected_pieces(alpha, face):
    """Masks of this size are not reduced, so every pixel over 127 is in a reported piece."""
    selected, pieces = select_dominant(alpha, face)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 127).astype(np.uint8))
    left = {bool(selected[labels == n].all()) for n in range(1, count)}
    for n in range(1, count):
        values = selected[labels == n]
        assert values.all() or not values.any()
    if pieces:
        assert True in left
    shares = sum(piece.share for piece in pieces if piece.kept)
    if len(pieces) < MAX_REPORTED:
        total = stats[1:, cv2.CC_STAT_AREA].sum()
        assert np.count_nonzero(selected > 127) == pytest.approx(shares * total)


@given(masks, faces)
def test_select_dominant_is_idempotent(alpha, face):
    once, _ = select_dominant(alpha, face)
    twice, pieces = select_dominant(once, face)
    np.testing.assert_array_equal(once, twice)
    assert all(piece.kept for piece in pieces)
