"""Tests of packs from folders: a valid pack, or a rejection with file and reason."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.made_data import SIDE, make_portrait
from training.data.dataset import read_backgrounds, read_portraits
from training.data.pack_check import PackError
from training.pack import (
    MAX_HASH_DISTANCE_BITS,
    app,
    difference_hash,
    find_photos,
    group_duplicates,
    make_pack,
    split_groups,
)


def write(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight photos with masks, and two without a person."""
    path = tmp_path / "office"
    for number in range(8):
        rgb, mask = make_portrait(number)
        write(path / "images" / f"photo{number}.png", rgb[..., ::-1])
        write(path / "masks" / f"photo{number}.png", mask)
    for number in range(2):
        write(path / "backgrounds" / f"wall{number}.png", np.full((SIDE, SIDE, 3), 90, np.uint8))
    return path


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return tmp_path / "pack"


def error_text(folder: Path, pack: Path) -> str:
    with pytest.raises(PackError) as raised:
        make_pack(folder, pack, None)
    assert not (pack / "people").exists()
    return str(raised.value)


def test_pack_contains_each_photo_with_its_mask(folder, pack):
    make_pack(folder, pack, None)
    people = [*read_portraits(pack, "train"), *read_portraits(pack, "val")]
    assert {person.source for person in people} == {"office"}
    assert len(people) == 8
    for person in people:
        rgb, mask = make_portrait(int(person.id.removeprefix("photo")))
        np.testing.assert_array_equal(person.truth(), mask)
        assert np.abs(person.rgb().astype(int) - rgb).mean() < 4
    assert len(read_backgrounds(pack, "train")) == 2


def test_folder_without_backgrounds_makes_a_pack(folder, pack):
    for file in (folder / "backgrounds").iterdir():
        file.unlink()
    (folder / "backgrounds").rmdir()
    make_pack(folder, pack, None)
    assert read_backgrounds(pack, "train") == []


def test_large_photo_is_scaled_with_its_mask(folder, pack):
    rgb, mask = make_portrait(9)
    write(folder / "images" / "large.png", cv2.resize(rgb, (1000, 700)))
    write(folder / "masks" / "large.png", cv2.resize(mask, (1000, 700)))
    make_pack(folder, pack, None)
    (mask_file,) = pack.glob("people/office/masks/large.png")
    assert cv2.imread(str(mask_file), cv2.IMREAD_GRAYSCALE).shape == (358, 512)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        pytest.param(None, "the mask is missing", id="missing"),
        pytest.param(
            np.full((SIDE, 10), 255, np.uint8), f"10x{SIDE}, the photo {SIDE}x{SIDE}", id="size"
        ),
        pytest.param(np.zeros((SIDE, SIDE), np.uint8), "all black", id="black"),
        pytest.param(
            np.full((SIDE, SIDE), 999, np.uint16), "values up to 999 are out of range", id="range"
        ),
        pytest.param(
            np.full((SIDE, SIDE, 3), (0, 0, 255), np.uint8), "the mask has colours", id="colours"
        ),
    ],
)
def test_wrong_mask_is_named_with_its_reason(folder, pack, pixels, reason):
    mask = folder / "masks" / "photo3.png"
    mask.unlink()
    if pixels is not None:
        write(mask, pixels)
    text = error_text(folder, pack)
    assert "photo3.png" in text
    assert reason in text


def test_broken_photo_is_named(folder, pack):
    (folder / "images" / "photo3.png").write_bytes(b"no image")
    assert "photo3.png" in error_text(folder, pack)


def test_grey_mask_in_three_channels_is_accepted(folder, pack):
    mask = folder / "masks" / "photo3.png"
    write(mask, np.dstack([cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)] * 3))
    make_pack(folder, pack, None)


def test_teacher_labels_only_photos_without_a_mask(folder, pack):
    (folder / "masks" / "photo3.png").unlink()
    requested_shapes = []

    def predict_mask(rgb: np.ndarray) -> np.ndarray:
        requested_shapes.append(rgb.shape)
        return np.full(rgb.shape[:2], 200, np.uint8)

    make_pack(folder, pack, predict_mask)
    assert requested_shapes == [(SIDE, SIDE, 3)]
    people = [*read_portraits(pack, "train"), *read_portraits(pack, "val")]
    (portrait,) = [person for person in people if person.id == "photo3"]
    assert (portrait.truth() == 200).all()


def test_existing_pack_is_not_overwritten(folder, pack):
    make_pack(folder, pack, None)
    with pytest.raises(FileExistsError, match="holds a pack already"):
        make_pack(folder, pack, None)
    assert read_portraits(pack, "train")


def test_copies_of_a_photo_share_a_split(folder, pack):
    for number in range(8):
        copy = cv2.resize(cv2.imread(str(folder / "images" / f"photo{number}.png")), (90, 90))
        options = [cv2.IMWRITE_JPEG_QUALITY, 60]
        file = folder / "images" / f"copy{number}.jpg"
        assert cv2.imwrite(str(file), copy, options)
        write(folder / "masks" / f"copy{number}.png", np.full((90, 90), 255, np.uint8))
    make_pack(folder, pack, None)
    val = {person.id for person in read_portraits(pack, "val")}
    assert val
    for number in range(8):
        assert (f"copy{number}" in val) == (f"photo{number}" in val)


def test_hashes_of_different_photos_exceed_the_distance_of_copies():
    photos = [make_portrait(number)[0] for number in range(6)]
    bits = np.array([difference_hash(photo) for photo in photos])
    distances = [(one != other).sum() for n, one in enumerate(bits) for other in bits[:n]]
    assert min(distances) > MAX_HASH_DISTANCE_BITS


def test_indirect_copies_are_in_one_group():
    bits = np.zeros((4, 256), bool)
    bits[1, :20] = True
    bits[2, :40] = True
    bits[3, 100:] = True
    assert group_duplicates(bits) == [0, 0, 0, 3]


@pytest.mark.parametrize(("count", "val"), [(2, 1), (10, 2), (100, 15)])
def test_split_assigns_a_share_to_validation(count, val):
    splits = split_groups([f"group{number}" for number in range(count)])
    assert list(splits.values()).count("val") == val


def test_pack_of_a_single_scene_is_rejected():
    with pytest.raises(ValueError, match="at least two different scenes"):
        split_groups(["one", "one"])


def test_photos_with_equal_names_are_rejected(folder):
    write(folder / "images" / "photo3.jpg", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="two photos named photo3"):
        find_photos(folder / "images")


def test_folder_without_photos_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="holds no photo"):
        find_photos(tmp_path)


def test_pack_command_with_problems_exits_with_an_error(folder, pack):
    (folder / "masks" / "photo3.png").unlink()
    result = CliRunner().invoke(app, [str(folder), str(pack)])
    assert result.exit_code == 1
    assert "photo3.png: the mask is missing" in result.output
