"""Tests of separated people, on masks of rectangles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from silhouette_seg.vision.mask.person_separation import MAX_PEOPLE, separate_people
from silhouette_seg.vision.mask.quality import Box, person_pixels

HW = (100, 200)
LEFT, RIGHT = Box(20, 10, 70, 40), Box(30, 130, 60, 30)


def mask(*bodies: Box) -> np.ndarray:
    alpha = np.zeros(HW, np.uint8)
    for body in bodies:
        rows, columns = (
            slice(body.top, body.top + body.height),
            slice(body.left, body.left + body.width),
        )
        alpha[rows, columns] = 255
    return alpha


def face_of(body: Box) -> Box:
    return Box(body.top + 2, body.left + body.width // 4, body.height // 5, body.width // 2)


def test_people_with_a_gap_are_separate_entries():
    found = separate_people(mask(LEFT, RIGHT), [face_of(RIGHT), face_of(LEFT)])
    assert found.faces == ((1,), (0,))
    assert (found.owners[20:90, 10:50] == 1).all()
    assert (found.owners[30:90, 130:160] == 2).all()


def test_touching_people_share_an_entry_with_their_faces():
    beside = Box(20, 50, 70, 40)
    found = separate_people(mask(LEFT, beside, RIGHT), [face_of(LEFT), face_of(beside)])
    assert found.faces == ((0, 1), ())


def test_arm_beyond_a_gap_belongs_to_its_person():
    arm = Box(40, 54, 20, 8)
    found = separate_people(mask(LEFT, arm), [face_of(LEFT)])
    assert found.faces == ((0,),)


def test_legs_below_a_table_belong_to_their_person():
    chest, legs = Box(10, 60, 40, 30), Box(60, 62, 30, 26)
    assert separate_people(mask(chest, legs), [face_of(chest)]).faces == ((0,),)


def test_small_piece_with_a_face_is_a_person():
    child = Box(60, 54, 30, 12)
    assert separate_people(mask(LEFT, child), [face_of(LEFT), face_of(child)]).faces == ((0,), (1,))


def test_speck_belongs_to_the_nearest_person():
    found = separate_people(mask(LEFT, RIGHT, Box(5, 120, 2, 2)), [])
    assert len(found.faces) == 2
    assert found.owners[6, 121] == 2


def test_face_beside_every_body_has_no_owner():
    assert separate_people(mask(LEFT), [Box(10, 180, 10, 10)]).faces == ((),)


def test_empty_mask_has_no_people():
    found = separate_people(mask(), [Box(10, 180, 10, 10)])
    assert found.faces == ()
    assert not found.owners.any()


@pytest.mark.parametrize("hw", [(1, 1), (1, 50), (500, 700)])
def test_owner_map_of_a_full_mask_has_one_person(hw):
    found = separate_people(np.full(hw, 255, np.uint8), [])
    assert (found.owners == 1).all()


@given(
    alpha=npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=2, max_side=40)),
    faces=st.lists(
        st.builds(Box, *[st.integers(0, 39)] * 2, *[st.integers(1, 20)] * 2), max_size=5
    ),
)
def test_every_pixel_and_face_has_at_most_one_owner(alpha, faces):
    found = separate_people(alpha, faces)
    people = len(found.faces)
    assert people <= MAX_PEOPLE
    assert set(np.unique(found.owners[person_pixels(alpha) > 0])) == set(range(1, people + 1))
    owned = [face for person in found.faces for face in person]
    assert len(owned) == len(set(owned))
