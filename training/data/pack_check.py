"""Checks a data pack before training reads it.

    python -m training.data.pack_check DATA

Training does not start with a pack that has a problem. A wrong mask degrades training without an
error, and a photo in both splits makes validation scores too high.
"""

import csv
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from silhouette_seg.errors import ServiceError
from silhouette_seg.vision.codec.decode import read_header
from silhouette_seg.vision.geometry import Size

VALIDATION_ONLY_SOURCES = frozenset({"coco128", "voc_tw7"})
"""Sources reserved for validation: they measure a network on unseen photos."""

MAX_LISTED_PROBLEMS = 20
"""Largest number of problems in an error message; a wrong layout causes thousands."""

SIDE_TOLERANCE_PX = 1
"""Largest difference in pixels that rounding may cause in a side of a soft mask."""

Row = Mapping[str, str]
"""One row of an index file, by column."""

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Problem:
    """File or index row of the pack and the reason of its rejection."""

    file: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


Check = Callable[[Row], Iterator[Problem]]


class PackError(Exception):
    """Raised for a pack with problems; the message lists the first of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        listed = [f"  {problem}" for problem in problems[:MAX_LISTED_PROBLEMS]]
        if len(problems) > MAX_LISTED_PROBLEMS:
            listed.append(f"  and {len(problems) - MAX_LISTED_PROBLEMS} more")
        super().__init__("\n".join([f"{len(problems)} problems in the data pack:", *listed]))
        self.problems = tuple(problems)


def check_pack(data: Path) -> None:
    """Raises PackError for wrong files or rows, and OSError for a pack without an index."""
    rows = _rows(data / "people" / "index.csv")
    problems = [
        *check_splits(data, rows),
        *_in_threads(lambda row: check_labelled(data, row), rows),
    ]
    unlabelled = data / "unlabelled" / "index2.csv"
    if unlabelled.exists():
        pseudo_rows = _rows(unlabelled)
        problems += _in_threads(lambda row: check_pseudo_labelled(data, row), pseudo_rows)
    if problems:
        raise PackError(problems)


def check_splits(data: Path, rows: Sequence[Row]) -> Iterator[Problem]:
    """Yields ids, groups and photographs in two splits, and training rows of a val-only source."""
    index = data / "people" / "index.csv"
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row["split"] not in ("train", "val"):
            yield Problem(index, f"{row['id']} has split {row['split']!r}, not train or val")
        if row["source"] in VALIDATION_ONLY_SOURCES and row["split"] != "val":
            yield Problem(index, f"{row['id']}: source {row['source']} is for validation alone")
        keys = {"id": row["id"], "group": row["group"]}
        photo = image_file(data, row)
        if photo.exists():
            keys["photograph"] = hashlib.sha1(photo.read_bytes(), usedforsecurity=False).hexdigest()
        for kind, key in keys.items():
            other = first.setdefault((kind, key), row)
            if other["split"] != row["split"]:
                yield Problem(
                    photo,
                    f"same {kind} as {other['id']}, but in {row['split']} and {other['split']}",
                )


def check_labelled(data: Path, row: Row) -> Iterator[Problem]:
    """Yields missing photos and masks, masks of another size, and masks without a person."""
    photo, mask = image_file(data, row), mask_file(data, row)
    pixels, size = _read_mask(mask), _photo_size(photo)
    if size is None:
        yield Problem(photo, "the photo is missing or cannot be read")
    if pixels is None:
        yield Problem(mask, "the mask is missing or cannot be read")
        return
    reason = value_problem(pixels)
    if reason:
        yield Problem(mask, reason)
    if size is not None and pixels.shape[:2] != size:
        yield Problem(
            mask, f"the mask is {_format_size(pixels.shape[:2])}, the photo {_format_size(size)}"
        )
    if not pixels.any():
        yield Problem(mask, "the mask is all black where a person is claimed")


def check_pseudo_labelled(data: Path, row: Row) -> Iterator[Problem]:
    """Yields missing photos and soft masks, masks of another shape, and figures out of range."""
    folder = data / "unlabelled" / row["source"]
    photo, mask = folder / "images" / f"{row['id']}.jpg", folder / "selfie" / f"{row['id']}.png"
    if row["source"] in VALIDATION_ONLY_SOURCES:
        yield Problem(photo, f"source {row['source']} is for validation alone")
    for name in ("selfie_fraction", "agreement"):
        if row[name] and not 0 <= float(row[name]) <= 1:
            yield Problem(photo, f"{name} is {row[name]}, outside 0..1")
    pixels, size = _read_mask(mask), _photo_size(photo)
    if size is None:
        yield Problem(photo, "the photo is missing or cannot be read")
    if pixels is None:
        yield Problem(mask, "the soft mask is missing or cannot be read")
        return
    reason = value_problem(pixels)
    if reason:
        yield Problem(mask, reason)
    if size is not None and not _same_shape(pixels.shape[:2], size):
        yield Problem(
            mask,
            f"the soft mask is {_format_size(pixels.shape[:2])}, the photo {_format_size(size)}",
        )


def value_problem(pixels: Pixels) -> str | None:
    """Returns the reason why values cannot be probabilities in 0..255, or None if they can."""
    if pixels.ndim != 2:
        return f"the mask has {pixels.shape[2]} channels, not one"
    if pixels.dtype != np.uint8:
        return f"values up to {pixels.max()} are out of range 0..255"
    if pixels.max() == 1:
        return "the largest value is 1: values are 0..255, not 0..1"
    return None


def image_file(data: Path, row: Row) -> Path:
    """Returns the file of a labelled photo."""
    return data / "people" / row["source"] / "images" / f"{row['id']}.jpg"


def mask_file(data: Path, row: Row) -> Path:
    """Returns the file of the photo's mask."""
    return data / "people" / row["source"] / "masks" / f"{row['id']}.png"


def _in_threads(check: Check, rows: Sequence[Row]) -> list[Problem]:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda row: list(check(row)), rows))
    return [problem for problems in results for problem in problems]


def _read_mask(file: Path) -> Pixels | None:
    """Reads [H,W] or [H,W,C] as stored; returns None if the file is not an image."""
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) if file.exists() else None
    return pixels  # type: ignore[return-value]


def _photo_size(file: Path) -> Size | None:
    try:
        header = read_header(file.read_bytes())
    except (OSError, ServiceError):
        return None
    return header.upright_hw


def _same_shape(mask_hw: Size, photo_hw: Size) -> bool:
    """Returns True if a soft mask has the shape of the photo scaled to the mask's longer side."""
    scale = max(mask_hw) / max(photo_hw)
    return all(
        abs(side - scale * length) <= SIDE_TOLERANCE_PX
        for side, length in zip(mask_hw, photo_hw, strict=True)
    )


def _format_size(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def _rows(index: Path) -> list[Row]:
    with index.open(newline="") as lines:
        return list(csv.DictReader(lines))


def main(data: Annotated[Path, typer.Argument(help="Folder of the data pack.")]) -> None:
    """Checks a data pack, lists its problems, and exits with code 1 if there are any."""
    try:
        check_pack(data)
    except PackError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo("The data pack has no problems.")


if __name__ == "__main__":
    typer.run(main)
