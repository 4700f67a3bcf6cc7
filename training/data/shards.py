"""Packs reduced training photos into shards, for transfer to a machine rented for minutes.

    python -m training.data.shards SHARDS --data DATA --side 256 --megabytes 28
    python -m training.data.shards PACK --unpack SHARDS

The first command writes `SHARDS/shard_0.tar` and so on: a data pack of the training split alone. It
has the layout that training reads, with photos of at most `--side` pixels. The second command
restores the pack. With `--masks` the shards contain the soft masks of a teacher, as `PACK/teacher`.
"""

import csv
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import resize
from training.data.dataset import (
    Portrait,
    read_backgrounds,
    read_frame,
    read_portraits,
    read_rows,
)
from training.data.pseudo_labels import read_pseudo_labelled

JPEG_QUALITY = 78
"""JPEG quality of the photos; augmentation compresses a fifth of them again."""
MASK_LEVELS = 15
"""Number of mask values beside 0: enough for soft rims, at half of the bytes of 255."""
TEACHER_FOLDER = "teacher"

Image = NDArray[np.uint8]
Entry = tuple[str, bytes]
"""Path and content of a file of the pack."""


def pack_entries(
    data: Path, side: int, *, agreement: float = 0, masks: Path | None = None
) -> Iterator[Entry]:
    """Yields the files of the small pack; raises OSError for a missing file of the large pack.

    It contains the unlabelled photos with an agreement of at least `agreement`, in 0..1, or with a
    teacher's mask.
    """
    portraits = read_portraits(data, "train")
    yield from index_entries(data, {portrait.id for portrait in portraits})
    for portrait in portraits:
        yield from _photo(f"people/{portrait.source}", "masks", portrait, side)
    for path in read_backgrounds(data, "train"):
        yield f"backgrounds/{path.name}", jpeg(read_frame(path).rgb, side)
    if (data / "unlabelled" / "index2.csv").exists():
        yield from unlabelled_entries(data, side, agreement, masks)


def unlabelled_entries(
    data: Path, side: int, agreement: float, masks: Path | None
) -> Iterator[Entry]:
    """Yields the index, the photos with their selfie masks, and the teacher's masks."""
    with_selfie = read_pseudo_labelled(data, masks=None, min_agreement=agreement)
    with_teacher_mask = read_pseudo_labelled(data, masks=masks, min_agreement=0) if masks else []
    ids = {portrait.id for portrait in [*with_selfie, *with_teacher_mask]}
    rows = [row for row in read_rows(data / "unlabelled" / "index2.csv") if row["id"] in ids]
    yield "unlabelled/index2.csv", csv_bytes(rows)
    for portrait in read_pseudo_labelled(data, masks=None, min_agreement=0):
        if portrait.id in ids:
            yield from _photo(f"unlabelled/{portrait.source}", "selfie", portrait, side)
    for portrait in with_teacher_mask:
        yield (
            f"{TEACHER_FOLDER}/{portrait.source}/{portrait.id}.png",
            png(portrait.truth(), side // 2),
        )


def index_entries(data: Path, ids: set[str]) -> Iterator[Entry]:
    """Yields the index files of labelled photos and backgrounds of the training split."""
    people_rows = [row for row in read_rows(data / "people" / "index.csv") if row["id"] in ids]
    yield "people/index.csv", csv_bytes(people_rows)
    face_rows = [row for row in read_rows(data / "faces.csv") if row["id"] in ids]
    yield "faces.csv", csv_bytes(face_rows)
    background_rows = [
        row for row in read_rows(data / "backgrounds" / "index.csv") if row["split"] == "train"
    ]
    yield "backgrounds/index.csv", csv_bytes(background_rows)


def _photo(folder: str, masks: str, portrait: Portrait, side: int) -> Iterator[Entry]:
    rgb, mask = portrait.rgb(), portrait.truth()
    yield f"{folder}/images/{portrait.id}.jpg", jpeg(rgb, side)
    # A soft mask loses no quality at half of the size.
    yield f"{folder}/{masks}/{portrait.id}.png", png(mask, side // 2 if portrait.soft else side)


def jpeg(rgb: Image, side: int) -> bytes:
    """Encodes a photo uint8 [H,W,3], reduced to a longer side of at most `side` pixels."""
    reduced = cv2.cvtColor(limit_side(rgb, side), cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", reduced, options)[1].tobytes()


def png(mask: Image, side: int) -> bytes:
    """Encodes a mask uint8 [H,W] in MASK_LEVELS + 1 values, with at most `side` pixels."""
    step = 255 / MASK_LEVELS
    quantised = np.rint(np.rint(limit_side(mask, side) / step) * step).astype(np.uint8)
    return cv2.imencode(".png", quantised, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()


def limit_side(image: Image, side: int) -> Image:
    """Reduces an image to a longer side of at most `side` pixels; never enlarges it."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    return resize(image, (height, width))


def csv_bytes(rows: Sequence[Mapping[str, str]]) -> bytes:
    """Encodes rows as CSV with a header; raises ValueError for an empty index."""
    if not rows:
        raise ValueError("an index of the pack would be empty")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def write_shards(folder: Path, entries: Iterable[Entry], limit: int) -> list[Path]:
    """Writes tar files of at most `limit` bytes; raises ValueError for a larger file."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("shard_*.tar"):
        old.unlink()
    files: list[Path] = []
    shard: tarfile.TarFile | None = None
    for name, content in entries:
        size = tar_entry_bytes(len(content))
        if size + TAR_END_BYTES > limit:
            raise ValueError(f"{name} takes {size} bytes, a shard {limit}")
        if shard is None or shard.offset + size + TAR_END_BYTES > limit:
            if shard is not None:
                shard.close()
            files.append(folder / f"shard_{len(files)}.tar")
            shard = tarfile.open(files[-1], "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        header = tarfile.TarInfo(name)
        header.size = len(content)
        shard.addfile(header, io.BytesIO(content))
    if shard is not None:
        shard.close()
    return files


TAR_END_BYTES = tarfile.RECORDSIZE
"""Largest number of bytes after the last file of a tar."""


def tar_entry_bytes(length: int) -> int:
    """Returns the number of bytes that a file of `length` bytes takes in a tar archive.

    These are one header block and the blocks of the content.
    """
    return tarfile.BLOCKSIZE * (1 + -(-length // tarfile.BLOCKSIZE))


def unpack(folder: Path, pack: Path) -> int:
    """Writes the files of all shards below `pack`; returns the number of shards.

    Raises FileNotFoundError for a folder without shards.
    """
    shards = sorted(folder.glob("shard_*.tar"))
    if not shards:
        raise FileNotFoundError(f"no shard_*.tar in {folder}")
    for file in shards:
        with tarfile.open(file) as shard:
            shard.extractall(pack, filter="data")
    return len(shards)


def main(
    folder: Annotated[
        Path, typer.Argument(help="Folder for the shards; with --unpack, for the data pack.")
    ],
    data: Annotated[Path | None, typer.Option(help="Folder of the data pack.")] = None,
    unpack_from: Annotated[
        Path | None,
        typer.Option("--unpack", help="Folder of shards from which to restore the data pack."),
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of a teacher's masks.")] = None,
    agreement: Annotated[
        float, typer.Option(help="Smallest IoU of a selfie mask whose photo is included.")
    ] = 0.9,
    side: Annotated[int, typer.Option(help="Longer side of the photos in pixels.", min=32)] = 256,
    megabytes: Annotated[float, typer.Option(help="Largest size of a shard in MB.")] = 50,
) -> None:
    """Writes the shards of a data pack, or restores a pack from shards."""
    if unpack_from is not None:
        typer.echo(f"{unpack(unpack_from, folder)} shards unpacked to {folder}")
        return
    if data is None:
        raise typer.BadParameter("--data or --unpack is needed")
    entries = pack_entries(data, side, agreement=agreement, masks=masks)
    files = write_shards(folder, entries, int(megabytes * 1_000_000))
    for file in files:
        typer.echo(f"{file}: {file.stat().st_size / 1_000_000:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
