"""Tests of face samples: boxes follow the face through every view, and faces stay visible."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.vision.geometry import LETTERBOX_GREY
from tests.unit.training.data.test_augmentation import STILL
from training.data.augmentation import Augmentation
from training.data.dataset import FaceBox, read_portraits
from training.data.faces import (
    MAX_FACE_SHARE,
    MIN_FACE_SIDE_PX,
    FaceCount,
    FaceDataset,
    apply_view,
    random_view,
    read_multi_face_ids,
    visible_box,
)
from training.data.samplers import SampleSpec

SIZE = (128, 96)
STRONG = Augmentation(scale=(0.2, 3.0), rotation=25, aspect=0.2)

seeds = st.integers(0, 2**32)
photo_sizes = st.tuples(st.integers(40, 300), st.integers(40, 300))


@st.composite
def faces(draw: st.DrawFn) -> FaceBox:
    w, h = draw(st.floats(0.08, 0.6)), draw(st.floats(0.08, 0.6))
    return FaceBox(draw(st.floats(0, 1 - w)), draw(st.floats(0, 1 - h)), w, h)


def photo_with_face(face: FaceBox, photo_hw: tuple[int, int]) -> np.ndarray:
    """Returns a dark photo uint8 [H,W,3] with a white face."""
    rgb = np.zeros((*photo_hw, 3), np.uint8)
    height, width = photo_hw
    rgb[
        round(face.y * height) : round((face.y + face.h) * height),
        round(face.x * width) : round((face.x + face.w) * width),
    ] = 255
    return rgb


class TestView:
    @given(face=faces(), photo_hw=photo_sizes, seed=seeds)
    @settings(deadline=None, max_examples=50)
    def test_view_box_surrounds_the_visible_face(self, face, photo_hw, seed):
        # Without rotation, because the box of a rotated face stays upright.
        augmentation = replace(STRONG, rotation=0.0)
        view = random_view(face, photo_hw, SIZE, augmentation, np.random.default_rng(seed))
        image = apply_view(photo_with_face(face, photo_hw), view, SIZE, 0)
        top, left, height, width = np.array(visible_box(face, view, SIZE)) * np.tile(SIZE, 2)
        rows, columns = np.nonzero(image[..., 0] > 127)
        # A pixel of the photo may cover several of the input; the face has whole pixels.
        slack = 1.5 + np.linalg.norm(view.linear / photo_hw[::-1], axis=0).max()
        if min(height, width) < slack:
            return
        assert rows.min() == pytest.approx(top, abs=slack)
        assert rows.max() + 1 == pytest.approx(top + height, abs=slack)
        assert columns.min() == pytest.approx(left, abs=slack)
        assert columns.max() + 1 == pytest.approx(left + width, abs=slack)

    @given(face=faces(), photo_hw=photo_sizes, seed=seeds)
    def test_random_view_keeps_most_of_the_face_visible(self, face, photo_hw, seed):
        view = random_view(face, photo_hw, SIZE, STRONG, np.random.default_rng(seed))
        _, _, width, height = view.box(face)
        _, _, visible_height, visible_width = visible_box(face, view, SIZE)
        if width < SIZE[1] and height < SIZE[0]:
            assert visible_height * SIZE[0] > 0.8 * height
            assert visible_width * SIZE[1] > 0.8 * width

    @given(seed=seeds)
    def test_random_view_keeps_the_face_size_within_limits(self, seed):
        square = replace(STRONG, aspect=0.0)
        rng = np.random.default_rng(seed)
        for side in (0.06, 0.7):
            view = random_view(FaceBox(0.2, 0.2, side, side), (96, 96), (96, 96), square, rng)
            _, _, width, height = view.box(FaceBox(0.2, 0.2, side, side))
            assert width == pytest.approx(height)
            assert MIN_FACE_SIDE_PX - 1e-6 <= width <= MAX_FACE_SHARE * 96 + 1e-6

    @given(seed=seeds)
    def test_random_view_without_jitter_is_a_moved_letterbox(self, seed):
        view = random_view(None, (50, 100), (64, 64), STILL, np.random.default_rng(seed))
        photo = np.full((50, 100, 3), 200, np.uint8)
        rows = apply_view(photo, view, (64, 64), LETTERBOX_GREY)[:, 32, 0]
        (inside,) = np.nonzero(rows == 200)
        assert len(inside) in (31, 32)
        assert np.ptp(inside) + 1 == len(inside)
        # The row at each border of the photo may mix both.
        outside = np.concatenate([rows[: max(0, inside[0] - 1)], rows[inside[-1] + 2 :]])
        assert (outside == LETTERBOX_GREY).all()

    def test_apply_view_of_a_large_reduction_does_not_alias(self):
        stripes = np.zeros((400, 400), np.uint8)
        stripes[:, ::2] = 255
        reduced = replace(STILL, scale=(0.1, 0.1 + 1e-9))
        views = [random_view(None, (400, 400), (100, 100), reduced, np.random.default_rng(k))
                 for k in range(20)]  # fmt: skip
        smallest = min(views, key=lambda view: abs(view.linear[0, 0]))
        inside = apply_view(stripes, smallest, (100, 100), 127)
        assert np.ptp(inside) < 20


class TestSamples:
    def make_dataset(self, data, augmentation=STILL, multi_face_ids=frozenset()):
        people = read_portraits(data, "train")
        scenes = [np.full((80, 80, 3), 9, np.uint8)]
        return FaceDataset(
            people, multi_face_ids, scenes, size_hw=(64, 64), augmentation=augmentation
        )

    def test_face_dataset_keeps_boxes_only_of_photos_with_faces(self, data):
        samples = self.make_dataset(data)
        for photo, portrait in enumerate(samples.portraits):
            sample = samples[SampleSpec(photo, 1)]
            if portrait.face is None:
                assert sample.faces == FaceCount.NONE
                assert not sample.box.any()
            else:
                face = portrait.face
                assert sample.faces == FaceCount.ONE
                assert sample.box.tolist() == pytest.approx([face.y, face.x, face.h, face.w])
        assert {portrait.domain for portrait in samples.portraits} >= {Domain.NO_FACE}

    def test_face_dataset_marks_several_faces_on_original_backgrounds(self, data):
        all_ids = frozenset(portrait.id for portrait in read_portraits(data, "train"))
        assert (
            self.make_dataset(data, multi_face_ids=all_ids)[SampleSpec(0, 0)].faces
            == FaceCount.SEVERAL
        )
        composite = replace(STILL, composite=1.0)
        assert self.make_dataset(data, composite, all_ids)[SampleSpec(0, 0)].faces == FaceCount.ONE

    def test_face_dataset_empty_scene_has_no_face(self, data):
        sample = self.make_dataset(data, replace(STILL, empty=1.0))[SampleSpec(0, 0)]
        assert sample.faces == FaceCount.NONE
        assert (sample.image == 9).all()

    def test_face_dataset_sample_is_a_function_of_its_spec(self, data):
        samples = self.make_dataset(data, STRONG)
        one, again, other = (samples[SampleSpec(0, seed)] for seed in (5, 5, 6))
        assert (one.image == again.image).all()
        assert (one.box == again.box).all()
        assert (one.box != other.box).any()

    def test_multi_face_ids_are_read_from_the_face_count(self, tmp_path):
        rows = ["id,faces", "a,0", "b,1", "c,2", "d,4"]
        (tmp_path / "faces.csv").write_text("\n".join(rows))
        assert read_multi_face_ids(tmp_path) == {"c", "d"}
