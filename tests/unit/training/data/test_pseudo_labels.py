"""Tests of soft masks: labels where they are certain, ignored elsewhere."""

import shutil

import numpy as np
import pytest
import torch

from tests.support.made_data import SIDE, write_data_pack, write_unlabelled
from tests.unit.training.data.test_augmentation import STILL
from training.data.dataset import read_portraits
from training.data.pseudo_labels import read_pseudo_labelled
from training.data.samplers import SampleSpec
from training.data.samples import SegmentationDataset


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_unlabelled(write_data_pack(tmp_path_factory.mktemp("data")))


def test_pseudo_labelled_photos_below_the_agreement_are_left_out(data):
    found = read_pseudo_labelled(data, masks=None, min_agreement=0.9)
    assert [photo.id for photo in found] == ["webcam0", "webcam1", "webcam3", "webcam4"]
    assert all(photo.soft and photo.face is None for photo in found)


def test_teacher_masks_replace_those_of_the_pack(data, tmp_path):
    folder = tmp_path / "webcams"
    folder.mkdir()
    shutil.copy(data / "unlabelled" / "webcams" / "selfie" / "webcam2.png", folder)
    (found,) = read_pseudo_labelled(data, masks=tmp_path, min_agreement=0.9)
    assert found.mask == folder / "webcam2.png"


def test_folder_without_masks_raises_value_error(data, tmp_path):
    with pytest.raises(ValueError, match="no pseudo-labelled photo"):
        read_pseudo_labelled(data, masks=tmp_path, min_agreement=0)


def test_pixel_weight_is_zero_only_within_the_uncertain_range(data):
    photo = read_pseudo_labelled(data, masks=None, min_agreement=0)[0]
    soft = np.array([[0, 38, 39, 128, 216, 217, 255]], np.uint8)
    assert photo.pixel_weight(soft).tolist() == [[255, 255, 0, 0, 0, 255, 255]]


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_sample_of_a_soft_mask_has_its_weight_without_the_rim(data, weight):
    photos = read_pseudo_labelled(data, masks=None, min_agreement=0)
    samples = SegmentationDataset(
        photos, [], size_hw=(SIDE, SIDE), augmentation=STILL, soft_weight=weight
    )
    sample = samples[SampleSpec(0, 0)]
    assert set(sample.pixel_weight.unique().tolist()) == {0, int(255 * weight)}
    rim = (sample.truth > 39) & (sample.truth < 216)
    assert rim.any()
    assert not sample.pixel_weight[rim].any()
    assert (sample.pixel_weight[~rim].float().mean() > 250 * weight) or not weight


def test_sample_of_a_labelled_photo_has_full_weight(data):
    people = read_portraits(data, "train")
    samples = SegmentationDataset(
        people, [], size_hw=(SIDE, SIDE), augmentation=STILL, soft_weight=0.1
    )
    assert torch.equal(
        samples[SampleSpec(0, 0)].pixel_weight, torch.full((SIDE, SIDE), 255, dtype=torch.uint8)
    )
