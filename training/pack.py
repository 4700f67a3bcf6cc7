"""Makes a data pack from a folder of photos and checks it.

    python -m training.pack FOLDER PACK
    python -m training.pack FOLDER PACK --teacher RECIPE.toml=WEIGHTS.pt

`FOLDER/images` contains the photos. `FOLDER/masks` contains a grey PNG of the same name and size
for each photo, white for person. With `--teacher` photos without a mask get the mask of a trained
network. `FOLDER/backgrounds` may contain photos without a person. Photos that are nearly equal, by
a perceptual hash, form a group in one split. Validation gets 15 % of the groups.
"""

import csv
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from cv2.typing import MatLike
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from silhouette_seg.errors import ServiceError
from training.data.dataset import read_frame
from training.data.pack_check import PackError, Problem, check_pack
from training.data.shards import limit_side
from training.label import load_views, person_probability
from training.recipe import read_recipe

Image = NDArray[np.uint8]
PredictMask = Callable[[Image], Image]
"""Maps a photo uint8 [H,W,3] to its mask uint8 [H,W]."""

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
STORED_SIDE_PX = 512
"""Longer side of the stored photos; no network has a larger input."""
JPEG_QUALITY = 92
HASH_SIDE = 16
"""Side of the hash in cells; it has HASH_SIDE squared bits."""
MAX_HASH_DISTANCE_BITS = 24
"""Largest number of different bits, of 256, between copies of one photo.

JPEG and scaling change up to a tenth of the bits; different photos differ by half of them."""
VALIDATION_SHARE = 0.15
TEACHER_SIDES_PX = (256, 320)
"""Sides of the teacher's square inputs in pixels."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Photo of the pack and its mask."""

    id: str
    rgb: Image
    mask: Image


def find_photos(folder: Path) -> list[Path]:
    """Finds the photos of a folder, sorted by name.

    Raises ValueError for two photos of one name, or for a folder without photos.
    """
    photos = sorted(path for path in folder.glob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise ValueError(f"{folder} holds no photo ({', '.join(sorted(PHOTO_SUFFIXES))})")
    names = [path.stem for path in photos]
    for name, next_name in pairwise(names):
        if name == next_name:
            raise ValueError(f"{folder} holds two photos named {name}")
    return photos


def read_entries(folder: Path, predict_mask: PredictMask | None) -> list[Entry]:
    """Reads photos and masks, scaled to STORED_SIDE_PX; raises PackError with all problems."""
    problems: list[Problem] = []
    entries = []
    photos = find_photos(folder / "images")
    for photo in track(photos, "photos", console=Console(stderr=True), transient=True):
        mask = folder / "masks" / f"{photo.stem}.png"
        try:
            rgb = read_frame(photo).rgb
            pixels = (
                read_mask(mask, rgb) if mask.exists() or predict_mask is None else predict_mask(rgb)
            )
        except (ServiceError, ValueError) as error:
            problems.append(Problem(mask if isinstance(error, ValueError) else photo, str(error)))
            continue
        entries.append(
            Entry(photo.stem, limit_side(rgb, STORED_SIDE_PX), limit_side(pixels, STORED_SIDE_PX))
        )
    if problems:
        raise PackError(problems)
    return entries


def read_mask(file: Path, rgb: Image) -> Image:
    """Reads the mask uint8 [H,W] of a photo; raises ValueError with the reason if it is invalid."""
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) if file.exists() else None
    if pixels is None:
        raise ValueError("the mask is missing or cannot be read")
    if pixels.dtype != np.uint8:
        raise ValueError(f"values up to {pixels.max()} are out of range 0..255")
    if pixels.ndim == 3:
        if np.ptp(pixels[..., :3], axis=2).any():
            raise ValueError("the mask has colours; it must be grey, with white for person")
        pixels = pixels[..., 0]
    if pixels.shape != rgb.shape[:2]:
        (height, width), (photo_height, photo_width) = pixels.shape, rgb.shape[:2]
        raise ValueError(f"the mask is {width}x{height}, the photo {photo_width}x{photo_height}")
    return np.asarray(pixels, np.uint8)


def difference_hash(rgb: Image) -> NDArray[np.bool_]:
    """Returns bool [HASH_SIDE^2], True for each cell brighter than its left neighbour.

    Source: Krawetz, "Kind of Like That" (2013).
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small[:, 1:] > small[:, :-1]).ravel()


def group_duplicates(hashes: NDArray[np.bool_]) -> list[int]:
    """Returns for each photo the index of the first of its copies, direct or through others."""
    first = list(range(len(hashes)))

    def root(index: int) -> int:
        while first[index] != index:
            index = first[index]
        return index

    for index, bits in enumerate(hashes):
        duplicates = np.flatnonzero((hashes[:index] != bits).sum(1) <= MAX_HASH_DISTANCE_BITS)
        roots = sorted({root(int(other)) for other in duplicates} | {root(index)})
        for other in roots[1:]:
            first[other] = roots[0]
    return [root(index) for index in range(len(hashes))]


def split_groups(groups: Sequence[str]) -> dict[str, str]:
    """Assigns `train` or `val` to each group by its name, with at least one group of each.

    Raises ValueError for fewer than two groups.
    """
    names = sorted(set(groups), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    if len(names) < 2:
        raise ValueError("photos of at least two different scenes are needed, one for validation")
    validation_count = max(1, round(VALIDATION_SHARE * len(names)))
    return {
        name: "val" if index < validation_count else "train" for index, name in enumerate(names)
    }


def write_pack(pack: Path, source: str, entries: Sequence[Entry], scenes: Sequence[Path]) -> None:
    """Writes the layout that training reads; raises FileExistsError if there is a pack."""
    if (pack / "people").exists():
        raise FileExistsError(f"{pack} holds a pack already")
    hashes = np.array([difference_hash(entry.rgb) for entry in entries])
    groups = [entries[index].id for index in group_duplicates(hashes)]
    splits = split_groups(groups)
    people_rows, face_rows = [], []
    folder = pack / "people" / source
    for entry, group in zip(entries, groups, strict=True):
        _write_jpeg(folder / "images" / f"{entry.id}.jpg", entry.rgb)
        _write(folder / "masks" / f"{entry.id}.png", entry.mask, [])
        row = {"id": entry.id, "source": source, "group": group, "split": splits[group]}
        people_rows.append(row)
        face_rows.append(
            {"id": entry.id, "x": "0", "y": "0", "w": "0", "h": "0", "ratio_face": "0"}
        )
    background_rows = []
    for path in scenes:
        _write_jpeg(
            pack / "backgrounds" / f"{path.stem}.jpg",
            limit_side(read_frame(path).rgb, STORED_SIDE_PX),
        )
        background_rows.append({"id": path.stem, "split": "train"})
    _write_index(pack / "people" / "index.csv", ["id", "source", "group", "split"], people_rows)
    _write_index(pack / "faces.csv", ["id", "x", "y", "w", "h", "ratio_face"], face_rows)
    _write_index(pack / "backgrounds" / "index.csv", ["id", "split"], background_rows)


def load_teacher(argument: str) -> PredictMask:
    """Loads the network of `RECIPE=WEIGHTS`; raises OSError for a missing file."""
    recipe, _, weights = argument.partition("=")
    views = load_views(read_recipe(Path(recipe)), Path(weights), [(s, s) for s in TEACHER_SIDES_PX])
    return lambda rgb: np.rint(person_probability(views, rgb) * 255).astype(np.uint8)


def _write_jpeg(file: Path, rgb: Image) -> None:
    _write(file, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _write(file: Path, pixels: MatLike, options: Sequence[int]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(file), pixels, options):
        raise OSError(f"{file} cannot be written")


def _write_index(file: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)


def make_pack(folder: Path, pack: Path, predict_mask: PredictMask | None) -> None:
    """Writes the pack of a folder and checks it; a pack with a problem is deleted.

    Raises PackError, ValueError or OSError.
    """
    entries = read_entries(folder, predict_mask)
    scenes = folder / "backgrounds"
    write_pack(pack, folder.resolve().name, entries, find_photos(scenes) if scenes.exists() else [])
    try:
        check_pack(pack)
    except PackError:
        shutil.rmtree(pack)
        raise


app = typer.Typer(add_completion=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Folder with images/, masks/ and backgrounds/.")],
    pack: Annotated[Path, typer.Argument(help="New folder for the data pack.")],
    teacher: Annotated[
        str, typer.Option(help="Network that predicts missing masks, as RECIPE=WEIGHTS.")
    ] = "",
) -> None:
    """Makes a data pack from a folder of photos."""
    try:
        make_pack(folder, pack, load_teacher(teacher) if teacher else None)
    except (PackError, ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(f"The pack {pack} has no problems.")


if __name__ == "__main__":
    app()
