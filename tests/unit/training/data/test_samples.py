"""Tests of the data pack's readers and of segmentation samples, functions of their spec."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.made_data import SIDE, make_portrait
from tests.unit.training.data.test_augmentation import STILL
from training.data.augmentation import Augmentation
from training.data.dataset import Portrait, read_backgrounds, read_frame, read_portraits
from training.data.samplers import SampleSpec
from training.data.samples import SegmentationDataset


class TestPortraits:
    def test_portraits_follow_the_index_and_splits_share_no_group(self, data):
        train, val = read_portraits(data, "train"), read_portraits(data, "val")
        assert [len(train), len(val)] == [12, 4]
        assert {p.source for p in train} == {p.source for p in val} == {"discs", "moons"}
        assert {p.group for p in train}.isdisjoint(p.group for p in val)

    def test_portrait_reads_photo_and_mask_from_disk(self, data):
        portrait = read_portraits(data, "train")[5]
        rgb, mask = make_portrait(5)
        np.testing.assert_array_equal(portrait.truth(), mask)
        # JPEG changes values a little; exchanged channels would change them more.
        assert np.abs(portrait.rgb().astype(int) - rgb).mean() < 4

    def test_portrait_with_a_broken_mask_names_the_file(self, tmp_path):
        file = tmp_path / "mask.png"
        file.write_bytes(b"nothing")
        with pytest.raises(ValueError, match=r"mask\.png is not an image"):
            Portrait("a", "discs", "group", file, file, None).truth()

    def test_backgrounds_of_a_split_are_readable(self, data):
        assert read_backgrounds(data, "val") == []
        shapes = [read_frame(path).rgb.shape for path in read_backgrounds(data, "train")]
        assert shapes == [(SIDE, SIDE, 3)] * 3


def make_dataset(
    data: Path, size_hw: tuple[int, int], augmentation: Augmentation
) -> SegmentationDataset:
    scenes = [read_frame(path).rgb for path in read_backgrounds(data, "train")]
    people = read_portraits(data, "train")
    return SegmentationDataset(people, scenes, size_hw=size_hw, augmentation=augmentation)


class TestSamples:
    @pytest.fixture
    def dataset(self, data):
        return make_dataset(data, (24, 40), Augmentation(composite=0.5, empty=0.2))

    def test_segmentation_sample_has_the_stated_shapes_and_types(self, dataset):
        for seed in range(20):
            *tensors, domain = dataset[SampleSpec(seed % 12, seed)]
            shapes = [tuple(tensor.shape) for tensor in tensors]
            assert shapes == [(3, 24, 40), (3, 24, 40), (24, 40), (24, 40), (24, 40)]
            assert {tensor.dtype for tensor in tensors} == {torch.uint8}
            assert domain == dataset.portraits[seed % 12].domain

    def test_segmentation_sample_is_a_function_of_its_spec(self, dataset, data):
        equal_dataset = make_dataset(data, (24, 40), dataset.augmentation)
        for seed in range(20):
            spec = SampleSpec(seed % 12, seed)
            for value, equal_value in zip(dataset[spec], equal_dataset[spec], strict=True):
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(equal_value))

    def test_segmentation_sample_of_another_seed_differs(self, dataset):
        assert not torch.equal(dataset[SampleSpec(0, 1)].image, dataset[SampleSpec(0, 2)].image)

    def test_plain_view_is_the_image_before_colour_changes(self, data):
        geometry = replace(STILL, flip=0.5, composite=0.5)
        geometry_dataset = make_dataset(data, (32, 32), geometry)
        colour_dataset = make_dataset(data, (32, 32), replace(geometry, colour=0.4))
        changes = []
        for seed in range(20):
            geometry_sample, sample = (
                geometry_dataset[SampleSpec(3, seed)],
                colour_dataset[SampleSpec(3, seed)],
            )
            # The conversion through HSV rounds.
            assert (geometry_sample.plain.int() - geometry_sample.image.int()).abs().max() <= 4
            assert torch.equal(geometry_sample.plain, sample.plain)
            assert torch.equal(geometry_sample.truth, sample.truth)
            changes.append((sample.plain.int() - sample.image.int()).abs().max())
        assert sum(change > 4 for change in changes) > 10

    def test_segmentation_sample_with_prior_is_otherwise_unchanged(self, dataset, data):
        prior_dataset = SegmentationDataset(
            dataset.portraits,
            dataset.backgrounds,
            size_hw=dataset.size_hw,
            augmentation=dataset.augmentation,
            priors=True,
        )
        prior_count = 0
        for seed in range(40):
            plain_sample, prior_sample = (
                dataset[SampleSpec(seed % 12, seed)],
                prior_dataset[SampleSpec(seed % 12, seed)],
            )
            assert not plain_sample.prior.any()
            prior_count += bool(prior_sample.prior.any())
            assert torch.equal(plain_sample.image, prior_sample.image)
            assert torch.equal(plain_sample.truth, prior_sample.truth)
        assert 5 < prior_count < 35

    def test_segmentation_sample_without_augmentation_is_the_rgb_photo(self, data):
        plain = make_dataset(data, (SIDE, SIDE), STILL)
        portrait = plain.portraits[3]
        sample = plain[SampleSpec(3, 0)]
        rgb = sample.image.permute(1, 2, 0).numpy().astype(int)
        assert np.abs(rgb - portrait.rgb()).max() <= 6
        np.testing.assert_array_equal(sample.truth.numpy(), portrait.truth())

    def test_empty_sample_is_a_background_without_a_person(self, data):
        empty_dataset = make_dataset(data, (32, 32), Augmentation(empty=1))
        for seed in range(4):
            assert not empty_dataset[SampleSpec(0, seed)].truth.any()

    def test_composite_sample_keeps_the_person_and_replaces_the_background(self, data):
        plain = make_dataset(data, (SIDE, SIDE), STILL)
        composite = make_dataset(data, (SIDE, SIDE), replace(STILL, composite=1))
        spec = SampleSpec(3, 0)
        before, truth = plain[spec].image, plain[spec].truth
        after, mask_after = composite[spec].image, composite[spec].truth
        background = truth == 0
        assert torch.equal(mask_after == 255, truth == 255)
        assert (mask_after[background] == 0).all()
        change = (before.int() - after.int()).abs()
        assert change[:, truth == 255].float().mean() < 6
        assert change[:, background].float().mean() > 10

    def test_stored_photos_are_no_larger_than_the_zoom_needs(self, data):
        photos = make_dataset(data, (20, 16), STILL).photos
        shapes = {(photo.rgb.shape, photo.mask.shape, photo.pixel_weight.shape) for photo in photos}
        assert shapes == {((30, 30, 3), (30, 30), (30, 30))}
