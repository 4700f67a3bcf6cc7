"""Tests of blurred faces: the pixels that change, and the detail that remains."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.vision.compose.face_blur import REGION_FACES, blur_faces
from silhouette_seg.vision.mask.quality import Box

HW = (120, 160)


def noise(hw: tuple[int, int] = HW) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*hw, 3), np.uint8)


def region(face: Box, hw: tuple[int, int] = HW) -> np.ndarray:
    """Returns the rectangle around the ellipse of a face, bool [*hw]."""
    margin = (REGION_FACES - 1) / 2
    rows, columns = np.mgrid[: hw[0], : hw[1]]
    beside = (
        (rows < face.top - margin * face.height - 1)
        | (rows > face.top + (1 + margin) * face.height + 1)
        | (columns < face.left - margin * face.width - 1)
        | (columns > face.left + (1 + margin) * face.width + 1)
    )
    return ~beside


@given(
    top=st.integers(-5, 119),
    left=st.integers(-5, 159),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
)
def test_pixels_outside_the_face_are_unchanged(top, left, height, width):
    face, photo = Box(top, left, height, width), noise()
    before = photo.copy()
    blur_faces(photo, [face])
    assert (photo[~region(face)] == before[~region(face)]).all()


@pytest.mark.parametrize("size", [4, 16, 40])
def test_no_detail_of_a_face_of_any_size_remains(size):
    """The face is stripes of black and white, as coarse as eyes and mouth are."""
    photo = np.zeros((200, 200, 3), np.uint8)
    period = max(2, size // 2)
    photo[:, np.arange(200) % period < period // 2] = 255
    face = Box(80, 80, size, size)
    blur_faces(photo, [face])
    inside = photo[80 : 80 + size, 80 : 80 + size].astype(int)
    assert inside.max() - inside.min() < 40


def test_every_face_is_blurred():
    faces = [Box(10, 10, 20, 20), Box(15, 28, 20, 20), Box(80, 100, 30, 20)]
    photo = noise()
    before = photo.copy()
    blur_faces(photo, faces)
    for face in faces:
        part = np.s_[face.top : face.top + face.height, face.left : face.left + face.width]
        assert photo[part].std() < before[part].std() / 4


def test_photo_without_faces_is_unchanged():
    photo = noise()
    blur_faces(photo, [])
    assert (photo == noise()).all()
