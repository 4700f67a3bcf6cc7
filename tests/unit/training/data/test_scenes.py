"""Tests of composed scenes: poses, occlusion, light, and exact masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.made_data import write_data_pack
from tests.unit.training.data.test_augmentation import STILL
from training.data.augmentation import Augmentation
from training.data.dataset import read_backgrounds, read_frame, read_portraits
from training.data.samplers import SampleSpec
from training.data.samples import SegmentationDataset
from training.data.scenes import (
    CutOut,
    Layers,
    Pose,
    SceneComposer,
    adapt_light,
    find_cut_out,
    place_people,
)

seeds = st.integers(0, 2**32)
RED = (200, 30, 30)


def figure(
    top: int, left: int, bottom: int, right: int, size_hw: tuple[int, int] = (120, 100)
) -> Layers:
    """A red box, which is the person, on black."""
    mask = np.zeros(size_hw, np.uint8)
    mask[top:bottom, left:right] = 255
    rgb = np.where(mask[..., None] > 0, np.array(RED, np.uint8), np.uint8(0))
    return Layers(rgb, mask, np.full_like(mask, 255))


STANDING = figure(10, 40, 110, 70)
BUST = figure(40, 20, 120, 80)


def grey_scene(size_hw: tuple[int, int] = (96, 128)) -> Layers:
    empty_mask = np.zeros(size_hw, np.uint8)
    return Layers(np.full((*size_hw, 3), 90, np.uint8), empty_mask, np.full_like(empty_mask, 255))


class TestFindCutOut:
    def test_cut_out_of_a_whole_figure_is_its_box(self):
        cut_out = find_cut_out(7, STANDING.mask)
        assert cut_out is not None
        assert (cut_out.top, cut_out.left, cut_out.bottom, cut_out.right) == (10, 40, 110, 70)
        assert cut_out.photo == 7
        assert [cut_out.cut_left, cut_out.cut_right, cut_out.cut_bottom] == [False] * 3

    def test_cut_out_records_the_borders_that_cut_it(self):
        cut_out = find_cut_out(0, figure(40, 0, 120, 50).mask)
        assert cut_out is not None
        assert cut_out.cut_bottom
        assert cut_out.cut_left
        assert not cut_out.cut_right

    @pytest.mark.parametrize(
        "mask",
        [
            pytest.param(np.zeros((50, 50), np.uint8), id="no person"),
            pytest.param(figure(10, 10, 14, 40).mask, id="too small"),
            pytest.param(figure(0, 10, 80, 90).mask, id="without a head"),
        ],
    )
    def test_mask_without_a_whole_person_has_no_cut_out(self, mask):
        assert find_cut_out(0, mask) is None


class TestPlacePeople:
    @pytest.fixture
    def people(self):
        return [find_cut_out(0, STANDING.mask), find_cut_out(1, BUST.mask)] * 3

    def poses(self, people, seed: int, size_hw=(96, 128)) -> list[Pose]:
        return place_people(people, size_hw, np.random.default_rng(seed))

    @pytest.mark.parametrize("seed", range(30))
    def test_cut_off_body_ends_below_the_scene(self, people, seed):
        for pose in self.poses(people, seed):
            if pose.cut_out.cut_bottom:
                assert pose.top + pose.height >= 96 - 1e-6

    @pytest.mark.parametrize("seed", range(30))
    def test_standing_people_are_taller_at_lower_positions(self, people, seed):
        standing = [p for p in self.poses(people, seed) if not p.cut_out.cut_bottom]
        feet = [pose.top + pose.height for pose in standing]
        heights = [pose.height for pose in standing]
        # Heights at one distance differ by up to a quarter.
        for low, tall in zip(feet, heights, strict=True):
            for high, small in zip(feet, heights, strict=True):
                if low > high + 0.3 * 96:
                    assert tall >= small

    @pytest.mark.parametrize("seed", range(10))
    def test_place_people_returns_the_nearest_person_last(self, people, seed):
        heights = [pose.height for pose in self.poses(people, seed)]
        assert heights == sorted(heights)

    def test_place_people_covers_the_range_of_heights(self, people):
        heights = [pose.height / 96 for seed in range(80) for pose in self.poses(people, seed)]
        assert min(heights) < 0.12
        assert max(heights) > 1

    @given(
        box=st.tuples(st.integers(4, 60), st.integers(4, 900)),
        size_hw=st.tuples(st.integers(32, 200), st.integers(32, 200)),
        seed=seeds,
    )
    def test_people_of_any_shape_are_placed_in_any_scene(self, box, size_hw, seed):
        for cut_bottom in (False, True):
            person = CutOut(0, 0, 0, *box, False, False, cut_bottom)
            (pose,) = self.poses([person], seed, size_hw)
            assert pose.width <= 1.5 * size_hw[1] + 1e-6
            assert pose.left < size_hw[1]
            assert pose.left + pose.width > 0
            assert not cut_bottom or pose.top + pose.height >= size_hw[0] - 1e-6

    def test_body_cut_at_a_side_touches_that_side(self):
        person = find_cut_out(0, figure(40, 0, 120, 50).mask)
        for seed in range(20):
            (pose,) = self.poses([person], seed)
            at_border = pose.left + pose.width >= 128 if pose.mirrored else pose.left <= 0
            assert at_border


class TestSceneComposer:
    @pytest.fixture
    def composer(self):
        return SceneComposer([STANDING, BUST], [True, True])

    def test_composed_mask_marks_the_visible_parts_of_people(self, composer):
        scene = grey_scene()
        scenes_with_people = 0
        for seed in range(30):
            composed = composer.compose(scene, seed % 2, np.random.default_rng(seed))
            reddish = composed.rgb[..., 0].astype(int) - composed.rgb[..., 2] > 45
            scenes_with_people += int(composed.mask.any())
            if (composed.mask == 255).any():
                assert reddish[composed.mask == 255].mean() > 0.8
            assert not reddish[composed.mask == 0].any()
        assert scenes_with_people > 25

    def test_compose_leaves_the_scene_unchanged(self, composer):
        scene = grey_scene()
        composer.compose(scene, 0, np.random.default_rng(0))
        assert (scene.rgb == 90).all()
        assert not scene.mask.any()

    def test_pasted_people_have_full_weight_in_uncertain_scenes(self, composer):
        scene = grey_scene()
        unweighted = Layers(scene.rgb, scene.mask, np.zeros_like(scene.pixel_weight))
        composed = composer.compose(unweighted, 1, np.random.default_rng(4))
        np.testing.assert_array_equal(composed.pixel_weight, composed.mask)

    def test_people_in_the_scene_stay_in_the_mask(self, composer):
        scene = grey_scene()
        scene.mask[:10, :10] = 255
        composed = composer.compose(scene, 0, np.random.default_rng(1))
        assert (composed.mask[:10, :10] == 255).all()

    def test_crowded_photo_is_returned_unchanged(self, composer):
        scene = grey_scene()
        scene.mask[:] = 255
        assert composer.compose(scene, 0, np.random.default_rng(0)) is scene

    def test_photo_that_is_not_eligible_is_never_pasted(self):
        composer = SceneComposer([STANDING, BUST], [False, True])
        assert {cut_out.photo for cut_out in composer.cut_outs} == {1}

    def test_scene_without_cut_outs_is_returned_unchanged(self):
        scene = grey_scene()
        assert SceneComposer([], []).compose(scene, 0, np.random.default_rng(0)) is scene


@given(seed=seeds)
def test_adapt_light_moves_towards_the_surroundings_within_limits(seed):
    rng = np.random.default_rng(seed)
    rgb = np.full((8, 8, 3), 120, np.uint8)
    alpha = np.full((8, 8), 255, np.uint8)
    background = np.full((8, 8, 3), 30, np.uint8)
    adapted = adapt_light(rgb, alpha, background, rng)
    assert 59 <= adapted.min() <= adapted.max() <= 133


def test_adapt_light_of_an_invisible_person_changes_nothing():
    rgb = np.full((4, 4, 3), 120, np.uint8)
    empty_mask = np.zeros((4, 4), np.uint8)
    assert adapt_light(rgb, empty_mask, rgb, np.random.default_rng(0)) is rgb


def test_sample_with_scenes_is_a_function_of_its_spec(tmp_path):
    data = write_data_pack(tmp_path)
    people = read_portraits(data, "train")
    scenes = [read_frame(path).rgb for path in read_backgrounds(data, "train")]
    settings = Augmentation(scene=1, empty=0)
    samples = [
        SegmentationDataset(people, scenes, size_hw=(48, 64), augmentation=settings)[
            SampleSpec(1, 5)
        ]
        for _ in range(2)
    ]
    for value, equal_value in zip(*samples, strict=True):
        assert np.array_equal(np.asarray(value), np.asarray(equal_value))
    assert STILL.scene == 0
