"""Tests of a teacher's masks: mean of views, enlarged small people, skipped photos."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.made_data import SIDE, write_data_pack, write_unlabelled
from training.data.pseudo_labels import read_pseudo_labelled
from training.label import MAX_CROPS, blend_selfie, label, person_probability, small_boxes


class Bright:
    """Calls bright pixels person; keeps the sizes of the photos that it was given."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def __call__(self, photos: Tensor, domain: Tensor) -> Tensor:
        self.seen.append((photos.shape[2], photos.shape[3]))
        assert domain.shape == (len(photos),)
        return (photos.float().mean(1) > 127).float()


def dots(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Probability [100,200] of 1 in boxes (top, left, height, width)."""
    probability = np.zeros((100, 200), np.float32)
    for top, left, height, width in boxes:
        probability[top : top + height, left : left + width] = 1
    return probability


class TestSmallBoxes:
    def test_small_box_has_a_margin_inside_the_photo(self):
        ((inner, outer),) = small_boxes(dots((2, 150, 20, 10)))
        assert (inner[0].start, inner[0].stop) == (0, 25)
        assert (inner[1].start, inner[1].stop) == (147, 163)
        assert (outer[0].start, outer[0].stop) == (0, 34)
        assert (outer[1].start, outer[1].stop) == (138, 172)

    @pytest.mark.parametrize(
        "box",
        [
            pytest.param((0, 0, 90, 40), id="a large person"),
            pytest.param((50, 50, 3, 3), id="noise"),
        ],
    )
    def test_large_people_and_noise_have_no_small_box(self, box):
        assert small_boxes(dots(box)) == []

    def test_small_boxes_of_many_people_are_the_largest(self):
        crowd = [(10, 20 * n, 10 + n, 6) for n in range(9)]
        boxes = small_boxes(dots(*crowd))
        assert len(boxes) == MAX_CROPS
        heights = [inner[0].stop - inner[0].start for inner, _ in boxes]
        assert heights == sorted(heights, reverse=True)


def test_probability_is_the_mean_of_all_views():
    rgb = np.zeros((40, 40, 3), np.uint8)
    rgb[:, :30] = 255
    empty_view = lambda photos, domain: torch.zeros(len(photos), *photos.shape[2:])  # noqa: E731
    probability = person_probability([Bright(), empty_view], rgb)
    np.testing.assert_array_equal(probability[:, :30], 0.5)
    np.testing.assert_array_equal(probability[:, 30:], 0)


def test_small_person_is_predicted_again_enlarged():
    rgb = np.zeros((100, 200, 3), np.uint8)
    rgb[40:60, 90:100] = 255
    view = Bright()
    probability = person_probability([view], rgb)
    assert view.seen == [(100, 200), (44, 34)]
    np.testing.assert_array_equal(probability > 0.5, rgb[..., 0] > 127)


def test_disagreeing_selfie_mask_makes_pixels_uncertain():
    selfie = np.full((8, 8), 255, np.uint8)
    selfie[:, 4:] = 0
    mixed = blend_selfie(np.ones((16, 16), np.float32), selfie)
    assert mixed[:, :7] == pytest.approx(1)
    assert mixed[:, 9:] == pytest.approx(0.5)


class TestLabel:
    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        return write_unlabelled(write_data_pack(tmp_path / "data"), photos=3)

    def test_label_writes_masks_for_training(self, data, tmp_path):
        assert label(data, tmp_path / "masks", [Bright()], agreement=2) == 3
        found = read_pseudo_labelled(data, masks=tmp_path / "masks", min_agreement=1)
        assert [photo.id for photo in found] == ["webcam0", "webcam1", "webcam2"]
        for photo in found:
            mask = photo.truth()
            assert mask.shape == (SIDE, SIDE)
            np.testing.assert_array_equal(mask > 127, photo.rgb().mean(2) > 127)

    def test_label_skips_finished_photos(self, data, tmp_path):
        masks = tmp_path / "masks"
        label(data, masks, [Bright()], agreement=2)
        (masks / "webcams" / "webcam1.png").unlink()
        view = Bright()
        assert label(data, masks, [view], agreement=2) == 1
        assert view.seen

    def test_label_uses_selfie_masks_from_the_agreement_on(self, data, tmp_path):
        empty_view = lambda photos, domain: torch.zeros(len(photos), *photos.shape[2:])  # noqa: E731
        label(data, tmp_path / "masks", [empty_view], agreement=0.9)
        brightest = [
            cv2.imread(str(tmp_path / "masks" / "webcams" / f"webcam{n}.png"), 0).max()
            for n in range(3)
        ]
        # agreements are 0.95, 0.92 and 0.5
        assert brightest == [128, 128, 0]
