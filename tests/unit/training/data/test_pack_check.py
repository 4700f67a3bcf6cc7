"""Tests of the pack check: each wrong file is named with the reason of its rejection."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.made_data import SIDE, write_data_pack, write_unlabelled
from training.data.pack_check import MAX_LISTED_PROBLEMS, PackError, check_pack


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Twelve train and four val photos, and six unlabelled ones."""
    return write_unlabelled(write_data_pack(tmp_path))


def edit_rows(index: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    with index.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    change(rows)
    with index.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def mask_of(pack: Path, person: str) -> Path:
    (found,) = pack.glob(f"people/*/masks/{person}.png")
    return found


def photo_of(pack: Path, person: str) -> Path:
    (found,) = pack.glob(f"people/*/images/{person}.jpg")
    return found


def error_text(pack: Path) -> str:
    with pytest.raises(PackError) as raised:
        check_pack(pack)
    assert len(raised.value.problems) == 1
    return str(raised.value)


def test_pack_check_of_a_valid_pack_passes(pack):
    check_pack(pack)


def test_pack_check_without_an_index_raises_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"index\.csv"):
        check_pack(tmp_path)


def test_pack_check_names_a_missing_mask(pack):
    mask = mask_of(pack, "person3")
    mask.unlink()
    assert f"{mask}: the mask is missing" in error_text(pack)


def test_pack_check_names_a_missing_photo(pack):
    photo = photo_of(pack, "person3")
    photo.unlink()
    assert f"{photo}: the photo is missing" in error_text(pack)


def test_pack_check_names_a_broken_mask(pack):
    mask = mask_of(pack, "person3")
    mask.write_bytes(b"no image")
    assert f"{mask}: the mask is missing or cannot be read" in error_text(pack)


def test_pack_check_of_another_mask_size_names_both_sizes(pack):
    mask = mask_of(pack, "person3")
    cv2.imwrite(str(mask), np.full((SIDE, SIDE - 1), 255, np.uint8))
    assert f"{mask}: the mask is {SIDE - 1}x{SIDE}, the photo {SIDE}x{SIDE}" in error_text(pack)


def test_pack_check_rejects_a_black_mask_of_a_person(pack):
    mask = mask_of(pack, "person3")
    cv2.imwrite(str(mask), np.zeros((SIDE, SIDE), np.uint8))
    assert f"{mask}: the mask is all black where a person is claimed" in error_text(pack)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        pytest.param(
            np.full((SIDE, SIDE), 300, np.uint16), "values up to 300 are out of range", id="16 bit"
        ),
        pytest.param(np.ones((SIDE, SIDE), np.uint8), "the largest value is 1", id="0..1"),
        pytest.param(np.full((SIDE, SIDE, 3), 255, np.uint8), "3 channels", id="colour"),
    ],
)
def test_pack_check_rejects_mask_values_out_of_range(pack, pixels, reason):
    mask = mask_of(pack, "person3")
    cv2.imwrite(str(mask), pixels)
    assert reason in error_text(pack)


def test_pack_check_names_both_copies_of_a_split_photograph(pack):
    shutil.copy(photo_of(pack, "person3"), photo_of(pack, "person15"))
    assert "same photograph as person3, but in val and train" in error_text(pack)


def test_pack_check_names_both_photos_of_a_split_group(pack):
    def merge(rows: list[dict[str, str]]) -> None:
        rows[15]["group"] = rows[3]["group"]

    edit_rows(pack / "people" / "index.csv", merge)
    assert "same group as person3, but in val and train" in error_text(pack)


def test_pack_check_rejects_an_unknown_split(pack):
    def rename(rows: list[dict[str, str]]) -> None:
        rows[3]["split"] = "test"

    edit_rows(pack / "people" / "index.csv", rename)
    assert "person3 has split 'test'" in error_text(pack)


@pytest.mark.parametrize("source", ["coco128", "voc_tw7"])
def test_pack_check_rejects_a_val_only_source_in_train(pack, source):
    (pack / "people" / "discs").rename(pack / "people" / source)

    def rename(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["source"] = source if row["source"] == "discs" else row["source"]

    edit_rows(pack / "people" / "index.csv", rename)
    with pytest.raises(
        PackError, match=f"person0: source {source} is for validation alone"
    ) as raised:
        check_pack(pack)
    assert len(raised.value.problems) == 6, "the val photos of the source are welcome"


class TestPseudoLabelled:
    @pytest.fixture
    def mask(self, pack: Path) -> Path:
        return pack / "unlabelled" / "webcams" / "selfie" / "webcam2.png"

    def test_pack_check_names_a_missing_soft_mask(self, pack, mask):
        mask.unlink()
        assert f"{mask}: the soft mask is missing" in error_text(pack)

    def test_pack_check_of_another_soft_mask_shape_names_both_sizes(self, pack, mask):
        cv2.imwrite(str(mask), np.full((32, 20), 255, np.uint8))
        assert f"{mask}: the soft mask is 20x32, the photo {SIDE}x{SIDE}" in error_text(pack)

    def test_pack_check_rejects_a_soft_mask_of_16_bits(self, pack, mask):
        cv2.imwrite(str(mask), np.full((32, 32), 65535, np.uint16))
        assert f"{mask}: values up to 65535 are out of range 0..255" in error_text(pack)

    def test_pack_check_accepts_an_empty_soft_mask(self, pack, mask):
        cv2.imwrite(str(mask), np.zeros((32, 32), np.uint8))
        check_pack(pack)

    @pytest.mark.parametrize(("name", "value"), [("agreement", "1.2"), ("selfie_fraction", "-0.1")])
    def test_pack_check_names_a_figure_out_of_range(self, pack, name, value):
        def corrupt_rows(rows: list[dict[str, str]]) -> None:
            rows[2][name] = value

        edit_rows(pack / "unlabelled" / "index2.csv", corrupt_rows)
        assert f"{name} is {value}, outside 0..1" in error_text(pack)


def test_pack_error_lists_a_limited_number_of_problems(pack):
    for mask in pack.glob("people/*/masks/*.png"):
        mask.unlink()
    for mask in pack.glob("unlabelled/*/selfie/*.png"):
        mask.unlink()
    with pytest.raises(PackError, match="22 problems") as raised:
        check_pack(pack)
    assert len(str(raised.value).splitlines()) == MAX_LISTED_PROBLEMS + 2
    assert str(raised.value).endswith("and 2 more")
