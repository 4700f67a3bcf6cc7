"""Synthetic data pack that a tiny network learns in seconds: bright discs on dim textures."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64
SOURCES = ("discs", "moons")
SCENES = ("rooms", "rooms", "streets")
"""Sources of the photos without a person, by turns."""
FACES = (0.2, 0.4, 0.02, 0.0)
"""Face ratios of successive photos: close shot, head shot, whole body, no face."""


def write_data_pack(data: Path, *, train: int = 12, val: int = 4, backgrounds: int = 3) -> Path:
    """Writes photos of 64x64 in the layout of `training.data.dataset`. Returns `data`."""
    splits = ["train"] * train + ["val"] * val
    rows = [
        {
            "id": f"person{number}",
            "source": SOURCES[number % len(SOURCES)],
            "group": f"group{number}",
            "split": split,
        }
        for number, split in enumerate(splits)
    ]
    for number, row in enumerate(rows):
        folder = data / "people" / row["source"]
        rgb, mask = make_portrait(number)
        _write(folder / "images" / f"{row['id']}.jpg", rgb[..., ::-1])
        _write(folder / "masks" / f"{row['id']}.png", mask)
    _index(data / "people" / "index.csv", rows)
    _index(
        data / "faces.csv", [make_face_row(number, row["id"]) for number, row in enumerate(rows)]
    )
    empty = [
        {"id": f"empty{number}", "source": SCENES[number % len(SCENES)], "split": "train"}
        for number in range(backgrounds)
    ]
    for number, row in enumerate(empty):
        scene = _texture(np.random.default_rng([1, number]))
        _write(data / "backgrounds" / f"{row['id']}.jpg", scene)
    _index(data / "backgrounds" / "index.csv", empty)
    return data


SOFT_SIDE = 32
"""Side of the soft masks in pixels, half of the side of the photos."""
AGREEMENTS = (0.95, 0.92, 0.5)
"""Agreements of successive unlabelled photos: two good masks and a bad one."""


def write_unlabelled(data: Path, *, photos: int = 6) -> Path:
    """Writes unlabelled photos with soft masks, as `training.data.pseudo_labels` reads them."""
    folder = data / "unlabelled" / "webcams"
    rows = []
    for number in range(photos):
        rgb, mask = make_portrait(100 + number)
        soft = cv2.resize(mask, (SOFT_SIDE, SOFT_SIDE), interpolation=cv2.INTER_AREA)
        _write(folder / "images" / f"webcam{number}.jpg", rgb[..., ::-1])
        _write(folder / "selfie" / f"webcam{number}.png", np.asarray(soft, np.uint8))
        row = {"id": f"webcam{number}", "source": "webcams", "group": f"webcam{number}"}
        row |= {"selfie_fraction": f"{soft.mean() / 255:.4f}", "selfie_unsure": "0.1"}
        rows.append(row | {"agreement": str(AGREEMENTS[number % len(AGREEMENTS)])})
    _index(data / "unlabelled" / "index2.csv", rows)
    return data


def make_face_row(number: int, person: str) -> dict[str, str]:
    """Returns a row of faces.csv with a square box, which does not depend on the photo."""
    ratio = FACES[number % len(FACES)]
    side = ratio**0.5
    return {
        "id": person,
        "faces": str(int(ratio > 0)),
        "x": "0.1",
        "y": "0.1",
        "w": f"{side:.6f}",
        "h": f"{side:.6f}",
        "ratio_face": f"{ratio:.5f}",
    }


def make_portrait(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns RGB uint8 [64,64,3] and a mask uint8 [64,64] that depend only on `number`."""
    rng = np.random.default_rng([0, number])
    rgb = _texture(rng)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    centre = tuple(int(c) for c in rng.integers(24, 40, 2))
    cv2.circle(mask, centre, int(rng.integers(14, 22)), 255, thickness=-1, lineType=cv2.LINE_AA)
    person = (220, 180, int(rng.integers(120, 160)))
    weight = mask[..., None] / 255
    return (rgb * (1 - weight) + np.array(person) * weight).astype(np.uint8), mask


def _texture(rng: np.random.Generator) -> NDArray[np.uint8]:
    coarse = rng.integers(0, 110, (6, 6, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.uint8)


def _write(file: Path, pixels: NDArray[np.uint8]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), np.ascontiguousarray(pixels))


def _index(file: Path, rows: Iterable[Mapping[str, str]]) -> None:
    listed = list(rows)
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, fieldnames=list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)
