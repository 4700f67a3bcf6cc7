"""Tests of the domain thresholds, and of decoding face boxes from a letterboxed input."""

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
    distinct_faces,
    domain_of,
    dominant_face,
    find_faces,
)
from silhouette_seg.spec import ResizeRule
from silhouette_seg.vision.geometry import Placement, place
from silhouette_seg.vision.mask.quality import Box

WHOLE = place((256, 256), (256, 256), ResizeRule.LETTERBOX)
LANDSCAPE = place((300, 600), (256, 256), ResizeRule.LETTERBOX)
"""Placement of a photo that covers rows 64 to 192 of the input."""

sizes = st.tuples(st.integers(8, 2000), st.integers(8, 2000))
shares = st.floats(0, 1)


def detector_output(*rows: tuple[float, float, float, float, float]) -> np.ndarray:
    """Returns the given rows (score, top, left, height, width) among cells with score 0."""
    zeros = np.zeros((50, 5), np.float32)
    zeros[:, 3:] = 0.2
    return np.concatenate([zeros, np.array(rows, np.float32).reshape(-1, 5), zeros])


def in_input(face: Face, placement: Placement) -> tuple[float, float, float, float, float]:
    """Returns the row that a perfect detector outputs for a face of the photo."""
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
    def test_domain_starts_at_its_minimum_ratio(self, ratio, domain):
        assert domain_of(ratio) is domain

    def test_domains_have_the_networks_branches_and_labels(self):
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
    def test_domain_of_a_larger_face_is_never_farther(self, one, other):
        smaller, larger = sorted((one, other))
        assert smaller == 0 or domain_of(smaller) <= domain_of(larger)


class TestFindFaces:
    def test_find_faces_without_scores_returns_none(self):
        assert find_faces(detector_output(), WHOLE) == []

    def test_find_faces_includes_the_minimum_score(self):
        below = float(np.nextafter(np.float32(0.5), np.float32(0)))
        rows = detector_output((0.5, 0.1, 0.1, 0.1, 0.1), (below, 0.6, 0.6, 0.1, 0.1))
        assert [face.score for face in find_faces(rows, WHOLE, min_score=0.5)] == [0.5]

    @given(photo_hw=sizes, top=shares, left=shares, height=shares, width=shares)
    def test_find_faces_inverts_the_letterbox(self, photo_hw, top, left, height, width):
        placement = place(photo_hw, (256, 256), ResizeRule.LETTERBOX)
        face = Face(top * 0.8, left * 0.8, 0.01 + height * 0.19, 0.01 + width * 0.19, 1.0)
        (found,) = find_faces(detector_output(in_input(face, placement)), placement)
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
    def test_find_faces_sorts_and_clips_arbitrary_boxes(self, photo_hw, rows):
        placement = place(photo_hw, (256, 256), ResizeRule.LETTERBOX)
        faces = find_faces(detector_output(*rows), placement)
        for face in faces:
            assert 0 <= face.top < face.top + face.height <= 1 + 1e-9
            assert 0 <= face.left < face.left + face.width <= 1 + 1e-9
            assert 0 < face.ratio <= 1
            assert face.score + 1e-6 >= MIN_SCORE
        scores = [face.score for face in faces]
        assert scores == sorted(scores, reverse=True)
        assert len(faces) <= len(rows)

    def test_overlapping_boxes_merge_into_the_best_one(self):
        rows = [(0.5 + 0.04 * k, 0.3 + 0.005 * k, 0.3, 0.3, 0.3) for k in range(10)]
        (face,) = find_faces(detector_output(*rows), WHOLE)
        assert face.score == pytest.approx(0.86)
        assert face.top == pytest.approx(0.345)

    def test_neighbouring_faces_stay_apart(self):
        rows = detector_output((0.9, 0.3, 0.1, 0.2, 0.2), (0.8, 0.3, 0.25, 0.2, 0.2))
        assert len(find_faces(rows, WHOLE)) == 2

    def test_box_reaching_into_the_padding_is_clipped(self):
        # The photo is in rows 64..192 of the input; the box starts in the padding at row 32.
        (face,) = find_faces(detector_output((0.9, 32 / 256, 0.25, 96 / 256, 0.5)), LANDSCAPE)
        assert (face.top, face.height) == pytest.approx((0, 0.5))
        assert (face.left, face.width) == pytest.approx((0.25, 0.5))

    def test_face_centred_in_the_padding_is_dropped(self):
        assert find_faces(detector_output((0.9, 0.05, 0.4, 0.1, 0.1)), LANDSCAPE) == []

    def test_find_faces_leaves_its_input_unchanged(self):
        rows = detector_output((0.9, 0.3, 0.3, 0.2, 0.2))
        before = rows.copy()
        find_faces(rows, WHOLE)
        np.testing.assert_array_equal(rows, before)


class TestDecideDomain:
    def test_domain_follows_the_largest_face_not_the_best_score(self):
        rows = detector_output((0.95, 0.1, 0.1, 0.1, 0.1), (0.6, 0.4, 0.4, 0.4, 0.5))
        decision = decide_domain(rows, WHOLE)
        assert decision.domain is Domain.CLOSE_SHOT
        assert decision.face is not None
        assert decision.face.score == pytest.approx(0.6)
        assert decision.face_ratio == pytest.approx(0.2)

    def test_photo_without_a_face_has_no_ratio(self):
        decision = decide_domain(detector_output(), WHOLE)
        assert (decision.domain, decision.face, decision.face_ratio) == (Domain.NO_FACE, None, 0.0)
        assert dominant_face([]) is None

    def test_face_ratio_is_relative_to_the_photo(self):
        # The face covers a tenth of the input, and the photo covers half of it.
        decision = decide_domain(detector_output((0.9, 0.4, 0.3, 0.2, 0.5)), LANDSCAPE)
        assert decision.face_ratio == pytest.approx(0.2)

    def test_smaller_faces_are_kept_beside_the_largest(self):
        rows = detector_output((0.95, 0.1, 0.1, 0.1, 0.1), (0.6, 0.4, 0.4, 0.4, 0.5))
        scores = [face.score for face in decide_domain(rows, WHOLE).faces]
        assert scores == pytest.approx([0.95, 0.6])


class TestDistinctFaces:
    HEAD = Face(0.2, 0.2, 0.3, 0.3, 0.5)

    @pytest.mark.parametrize("score", [0.4, 0.9])
    def test_box_inside_a_larger_face_is_dropped(self, score):
        nose = Face(0.3, 0.3, 0.08, 0.08, score)
        assert distinct_faces([nose, self.HEAD]) == (self.HEAD,)

    def test_face_beside_another_is_kept_in_order(self):
        neighbour = Face(0.2, 0.45, 0.3, 0.3, 0.9)
        assert distinct_faces([neighbour, self.HEAD]) == (neighbour, self.HEAD)

    def test_face_has_a_box_in_pixels(self):
        assert self.HEAD.box((100, 200)) == Box(20, 40, 30, 60)
        assert Face(0, 0, 0.001, 0.001, 1).box((10, 10)) == Box(0, 0, 1, 1)
