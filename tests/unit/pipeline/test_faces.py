"""Domains begin exactly at their cuts; boxes come back from the letterbox, once each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.pipeline.faces import (
    DOMAIN_MIN_RATIOS,
    MIN_SCORE,
    Domain,
    Face,
    decide_domain,
    domain_of,
    dominant_face,
    find_faces,
)
from silhouette_seg.spec import ResizeRule
from silhouette_seg.vision.geometry import Placement, place

WHOLE = place((256, 256), (256, 256), ResizeRule.LETTERBOX)
LANDSCAPE = place((300, 600), (256, 256), ResizeRule.LETTERBOX)
"""Rows 64 to 192 of the input."""

sizes = st.tuples(st.integers(8, 2000), st.integers(8, 2000))
shares = st.floats(0, 1)


def said(*rows: tuple[float, float, float, float, float]) -> np.ndarray:
    """The detector's answer: score, top, left, height, width; among cells that say nothing."""
    silent = np.zeros((50, 5), np.float32)
    silent[:, 3:] = 0.2
    return np.concatenate([silent, np.array(rows, np.float32).reshape(-1, 5), silent])


def in_input(face: Face, placement: Placement) -> tuple[float, float, float, float, float]:
    """The row a perfect detector gives for a face of the photo."""
    height, width = placement.size_hw
    return (
        face.score,
        (placement.top + face.top * placement.height) / height,
        (placement.left + face.left * placement.width) / width,
        face.height * placement.height / height,
        face.width * placement.width / width,
    )


class TestDomain:
    @pytest.mark.parametrize(
        ("ratio", "domain"),
        [
            (0.0, Domain.NO_FACE),
            (np.nextafter(0, 1), Domain.FAR_SHOT),
            (np.nextafter(0.005, 0), Domain.FAR_SHOT),
            (0.005, Domain.WHOLE_BODY),
            (np.nextafter(0.05, 0), Domain.WHOLE_BODY),
            (0.05, Domain.HALF_BODY),
            (np.nextafter(0.1, 0), Domain.HALF_BODY),
            (0.1, Domain.CLOSE_SHOT),
            (np.nextafter(0.3, 0), Domain.CLOSE_SHOT),
            (0.3, Domain.HEAD_SHOT),
            (1.0, Domain.HEAD_SHOT),
        ],
    )
    def test_begins_at_its_cut(self, ratio, domain):
        assert domain_of(ratio) is domain

    def test_branches_and_labels_are_the_network_s(self):
        assert [domain.label for domain in Domain] == [
            "far_shot",
            "whole_body",
            "half_body",
            "close_shot",
            "head_shot",
            "no_face",
        ]
        assert [domain.value for domain in Domain] == list(range(6))
        assert len(DOMAIN_MIN_RATIOS) == 4

    @given(one=shares, other=shares)
    def test_a_larger_face_is_never_farther(self, one, other):
        smaller, larger = sorted((one, other))
        assert smaller == 0 or domain_of(smaller) <= domain_of(larger)


class TestFindFaces:
    def test_silence_is_no_face(self):
        assert find_faces(said(), WHOLE) == []

    def test_a_score_at_the_threshold_is_a_face_and_one_below_is_none(self):
        below = float(np.nextafter(np.float32(0.5), np.float32(0)))
        rows = said((0.5, 0.1, 0.1, 0.1, 0.1), (below, 0.6, 0.6, 0.1, 0.1))
        assert [face.score for face in find_faces(rows, WHOLE, min_score=0.5)] == [0.5]

    @given(photo_hw=sizes, top=shares, left=shares, height=shares, width=shares)
    def test_undoes_the_letterbox(self, photo_hw, top, left, height, width):
        placement = place(photo_hw, (256, 256), ResizeRule.LETTERBOX)
        face = Face(top * 0.8, left * 0.8, 0.01 + height * 0.19, 0.01 + width * 0.19, 1.0)
        (found,) = find_faces(said(in_input(face, placement)), placement)
        for name in ("top", "left", "height", "width"):
            assert getattr(found, name) == pytest.approx(getattr(face, name), abs=1e-4)

    @given(
        photo_hw=sizes,
        rows=st.lists(
            st.tuples(
                shares, st.floats(-2, 2), st.floats(-2, 2), st.floats(1e-3, 3), st.floats(1e-3, 3)
            ),
            max_size=12,
        ),
    )
    def test_faces_lie_in_the_photo_best_first_and_apart(self, photo_hw, rows):
        placement = place(photo_hw, (256, 256), ResizeRule.LETTERBOX)
        faces = find_faces(said(*rows), placement)
        for face in faces:
            assert 0 <= face.top < face.top + face.height <= 1 + 1e-9
            assert 0 <= face.left < face.left + face.width <= 1 + 1e-9
            assert 0 < face.ratio <= 1
            assert face.score + 1e-6 >= MIN_SCORE
        scores = [face.score for face in faces]
        assert scores == sorted(scores, reverse=True)
        assert len(faces) <= len(rows)

    def test_many_cells_of_one_face_are_one_face_the_best(self):
        rows = [(0.5 + 0.04 * k, 0.3 + 0.005 * k, 0.3, 0.3, 0.3) for k in range(10)]
        (face,) = find_faces(said(*rows), WHOLE)
        assert face.score == pytest.approx(0.86)
        assert face.top == pytest.approx(0.345)

    def test_two_faces_beside_each_other_stay_two(self):
        rows = said((0.9, 0.3, 0.1, 0.2, 0.2), (0.8, 0.3, 0.25, 0.2, 0.2))
        assert len(find_faces(rows, WHOLE)) == 2

    def test_what_reaches_out_of_the_photo_is_cut(self):
        # The input's rows 64..192 are the photo: from 32 on it is padding that the box covers.
        (face,) = find_faces(said((0.9, 32 / 256, 0.25, 96 / 256, 0.5)), LANDSCAPE)
        assert (face.top, face.height) == pytest.approx((0, 0.5))
        assert (face.left, face.width) == pytest.approx((0.25, 0.5))

    def test_a_face_in_the_padding_is_none(self):
        assert find_faces(said((0.9, 0.05, 0.4, 0.1, 0.1)), LANDSCAPE) == []

    def test_the_answer_is_left_as_it_was(self):
        rows = said((0.9, 0.3, 0.3, 0.2, 0.2))
        before = rows.copy()
        find_faces(rows, WHOLE)
        np.testing.assert_array_equal(rows, before)


class TestRoute:
    def test_the_largest_face_decides_not_the_surest(self):
        rows = said((0.95, 0.1, 0.1, 0.1, 0.1), (0.6, 0.4, 0.4, 0.4, 0.5))
        found = decide_domain(rows, WHOLE)
        assert found.domain is Domain.CLOSE_SHOT
        assert found.face is not None
        assert found.face.score == pytest.approx(0.6)
        assert found.face_ratio == pytest.approx(0.2)

    def test_without_a_face(self):
        found = decide_domain(said(), WHOLE)
        assert (found.domain, found.face, found.face_ratio) == (Domain.NO_FACE, None, 0.0)
        assert dominant_face([]) is None

    def test_the_ratio_is_of_the_photo_not_of_the_padded_input(self):
        # A tenth of the input's area; the photo is half of the input.
        found = decide_domain(said((0.9, 0.4, 0.3, 0.2, 0.5)), LANDSCAPE)
        assert found.face_ratio == pytest.approx(0.2)
