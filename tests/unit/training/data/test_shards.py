"""Tests of shards: training split alone, limited size, and a valid unpacked pack."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.made_data import write_data_pack, write_unlabelled
from training.data.dataset import read_backgrounds, read_frame, read_portraits
from training.data.pack_check import check_pack
from training.data.pseudo_labels import read_pseudo_labelled
from training.data.shards import csv_bytes, pack_entries, png, unpack, write_shards

LIMIT = 40_000
"""Bytes of a shard: a few photos."""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_unlabelled(write_data_pack(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def shards(data, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shards")
    return write_shards(folder, pack_entries(data, 48), LIMIT)


@pytest.fixture(scope="module")
def pack(shards, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    assert unpack(shards[0].parent, folder) == len(shards)
    return folder


def test_shards_stay_below_their_size(shards):
    assert len(shards) > 1
    assert max(file.stat().st_size for file in shards) <= LIMIT


def test_unpacked_pack_has_no_problems(pack):
    check_pack(pack)


def test_shards_contain_only_the_training_split(data, pack):
    assert read_portraits(pack, "val") == []
    whole, small = read_portraits(data, "train"), read_portraits(pack, "train")
    assert [photo.id for photo in small] == [photo.id for photo in whole]
    assert [photo.face for photo in small] == [photo.face for photo in whole]
    assert len(read_backgrounds(pack, "train")) == 3
    assert len(read_pseudo_labelled(pack, masks=None, min_agreement=0)) == 6


def test_packed_photos_are_small_and_nearly_equal(data, pack):
    pairs = zip(read_portraits(data, "train"), read_portraits(pack, "train"), strict=True)
    for large, small in pairs:
        assert small.rgb().shape == (48, 48, 3)
        assert small.truth().shape == (48, 48)
        assert np.abs(small.rgb().mean((0, 1)) - large.rgb().mean((0, 1))).max() < 5
        assert abs(small.truth().mean() - large.truth().mean()) < 5


def test_photos_smaller_than_the_side_are_not_enlarged(data, tmp_path):
    shards = write_shards(tmp_path / "shards", pack_entries(data, 200), 10_000_000)
    unpack(shards[0].parent, tmp_path / "pack")
    assert read_frame(read_portraits(tmp_path / "pack", "train")[0].image).rgb.shape == (64, 64, 3)


def test_shards_contain_the_masks_of_a_teacher(data, tmp_path):
    selfies = data / "unlabelled" / "webcams" / "selfie"
    masks = tmp_path / "masks" / "webcams"
    masks.mkdir(parents=True)
    (masks / "webcam2.png").write_bytes((selfies / "webcam2.png").read_bytes())
    shards = write_shards(
        tmp_path / "shards",
        pack_entries(data, 64, agreement=0.93, masks=tmp_path / "masks"),
        10_000_000,
    )
    unpack(shards[0].parent, tmp_path / "pack")
    small = tmp_path / "pack"
    found = read_pseudo_labelled(small, masks=small / "teacher", min_agreement=0)
    assert [photo.id for photo in found] == ["webcam2"]
    # agreements are 0.95, 0.92, 0.5, and the same again
    with_selfie = read_pseudo_labelled(small, masks=None, min_agreement=0)
    assert [photo.id for photo in with_selfie] == ["webcam0", "webcam2", "webcam3"]
    check_pack(small)


def test_packed_mask_keeps_extremes_and_rim():
    levels = np.arange(256, dtype=np.uint8)[None]
    decoded = cv2.imdecode(np.frombuffer(png(levels, 256), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert (decoded[0, 0], decoded[0, 255]) == (0, 255)
    assert np.abs(decoded.astype(int) - levels).max() <= 9


def test_file_larger_than_a_shard_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="large takes 40448 bytes, a shard 40000"):
        write_shards(tmp_path, [("large", bytes(39_500))], 40_000)


def test_folder_without_shards_is_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no shard_\*\.tar"):
        unpack(tmp_path, tmp_path / "pack")


def test_empty_index_is_rejected():
    with pytest.raises(ValueError, match="would be empty"):
        csv_bytes([])


def test_old_shards_are_replaced(data, tmp_path):
    (tmp_path / "shard_7.tar").write_bytes(b"old")
    write_shards(tmp_path, [("file", b"content")], 40_000)
    assert [file.name for file in tmp_path.iterdir()] == ["shard_0.tar"]
