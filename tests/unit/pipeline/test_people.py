"""Tests of described people: masks, boxes, faces, confidences and the reason."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from pycocotools import mask as reference

from silhouette_seg.pipeline.faces import Domain, DomainDecision, Face
from silhouette_seg.pipeline.options import MaskEncoding
from silhouette_seg.pipeline.people import NO_DETECTOR, People, describe_people
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.pipeline.timings import Timings
from silhouette_seg.vision.mask.quality import Box, measure_quality, person_pixels

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HW = (100, 200)
LEFT_FACE = Face(0.25, 0.1, 0.1, 0.1, 0.9)
RIGHT_FACE = Face(0.35, 0.68, 0.1, 0.1, 0.8)


def two_people() -> NDArray[np.uint8]:
    alpha = np.zeros(HW, np.uint8)
    alpha[20:90, 10:50], alpha[30:90, 130:160] = 255, 255
    return alpha


def matte(alpha: NDArray[np.uint8], *faces: Face, detector: bool = True) -> Matte:
    decision = DomainDecision(Domain.HALF_BODY, faces, detector_ran=True) if detector else None
    return Matte(alpha, measure_quality(alpha), decision, Timings(0, 0, 0, 0, 0))


def describe(alpha: NDArray[np.uint8], *faces: Face) -> People:
    return describe_people(alpha, matte(alpha, *faces), MaskEncoding.RLE)


def decode(counts: object, hw: tuple[int, int] = HW) -> NDArray[np.bool_]:
    return reference.decode({"size": list(hw), "counts": counts}) > 0


def test_person_has_box_area_mask_and_face():
    found = describe(two_people(), RIGHT_FACE, LEFT_FACE)
    left, right = found.people
    assert (left.box, left.area, left.faces) == (Box(20, 10, 70, 40), 2800, (LEFT_FACE,))
    assert (right.box, right.area, right.faces) == (Box(30, 130, 60, 30), 1800, (RIGHT_FACE,))
    assert (decode(left.segmentation) | decode(right.segmentation)).sum() == 4600
    assert found.reason is None


def test_touching_people_are_a_crowd_with_a_reason():
    alpha = two_people()
    alpha[80:90, 50:130] = 255
    found = describe(alpha, LEFT_FACE, RIGHT_FACE)
    (crowd,) = found.people
    assert crowd.is_crowd
    assert crowd.faces == (LEFT_FACE, RIGHT_FACE)
    assert found.reason is not None
    assert found.reason.startswith("2 faces are on one connected body")


def test_missing_detector_is_the_reason():
    alpha = two_people()
    found = describe_people(alpha, matte(alpha, detector=False), MaskEncoding.RLE)
    assert found.reason == NO_DETECTOR
    assert len(found.people) == 2


def test_polygons_describe_the_same_masks():
    alpha = two_people()
    found = describe_people(alpha, matte(alpha), MaskEncoding.POLYGON)
    for person in found.people:
        assert reference.area(reference.frPyObjects(person.segmentation, *HW)) == [person.area]


def test_confidence_is_that_of_the_predicted_outline():
    """The left person's outline is soft, and the edited mask is hard."""
    sharp = two_people()
    soft = sharp.copy()
    soft[:, :100] = cv2.GaussianBlur(sharp, (0, 0), 4)[:, :100]
    left, right = describe_people(sharp, matte(soft), MaskEncoding.RLE).people
    assert left.confidence < 0.85
    assert right.confidence == 1


def test_person_of_uncertain_pixels_has_no_confidence():
    """A threshold below one half makes a person where the model sees none."""
    faint = np.where(two_people() > 0, np.uint8(100), np.uint8(0))
    found = describe_people(two_people(), matte(faint), MaskEncoding.RLE)
    assert [person.confidence for person in found.people] == [None, None]


def test_empty_mask_has_nobody():
    found = describe(np.zeros(HW, np.uint8), LEFT_FACE)
    assert (found.people, found.reason) == ((), None)


@given(
    alpha=npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=40)),
    top=st.floats(0, 0.5),
)
def test_masks_of_people_are_disjoint_and_complete(alpha, top):
    found = describe(alpha, Face(top, 0.2, 0.3, 0.3, 0.9), Face(0.4, 0.6, 0.3, 0.3, 0.8))
    hw = alpha.shape
    count = np.zeros(hw, int)
    for person in found.people:
        count += decode(person.segmentation, hw)
    assert (count == (person_pixels(alpha) > 0)).all()
