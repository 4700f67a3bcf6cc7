"""The labelled photos: `people/index.csv` beside `people/<source>/{images,masks}`."""

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.pipeline.faces import Domain, domain_of
from silhouette_seg.vision.codec.decode import Frame, decode, read_header
from silhouette_seg.vision.geometry import Size

Split = Literal["train", "val"]

UNCERTAIN_RANGE = (0.15, 0.85)
"""Probabilities of a soft mask between which a pixel is neither person nor background."""


@dataclass(frozen=True, slots=True)
class FaceBox:
    """Left, top, width and height as shares of the photo's sides; `ratio` of its area."""

    x: float
    y: float
    w: float
    h: float

    @property
    def ratio(self) -> float:
        return self.w * self.h


@dataclass(frozen=True, slots=True)
class Portrait:
    """One labelled photo; members of a group (one person, one scene) share a split."""

    id: str
    source: str
    group: str
    image: Path
    mask: Path
    face: FaceBox | None
    """The dominant face, where the reference found one."""
    soft: bool = False
    """The mask is a model's: smaller than the photo, and not certain everywhere."""

    @property
    def domain(self) -> Domain:
        return domain_of(self.face.ratio if self.face else 0.0)

    def rgb(self) -> NDArray[np.uint8]:
        """uint8 [H,W,3]."""
        return read_frame(self.image).rgb

    def frame(self, at_least: Size) -> Frame:
        """Decoded as the service decodes a photo whose mask alone is wanted."""
        return read_frame(self.image, at_least=at_least)

    def truth(self) -> NDArray[np.uint8]:
        """uint8 [H,W], 0 background .. 255 person; a soft mask may be smaller than the photo."""
        mask = cv2.imread(str(self.mask), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise ValueError(f"{self.mask} is not an image")
        return np.asarray(mask, np.uint8)

    def pixel_weight(self, truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H,W], 255 where `truth`, this photo's mask, is certain, else 0.

        A soft mask is uncertain at outlines and where its model, or several views, disagree.
        """
        if not self.soft:
            return np.full_like(truth, 255)
        low, high = (255 * share for share in UNCERTAIN_RANGE)
        return np.where((truth > low) & (truth < high), 0, 255).astype(np.uint8)


def read_portraits(data: Path, split: Split) -> list[Portrait]:
    """The photos of one split, in the order of the index."""
    people = data / "people"
    faces = read_faces(data)
    return [
        Portrait(
            id=row["id"],
            source=row["source"],
            group=row["group"],
            image=people / row["source"] / "images" / f"{row['id']}.jpg",
            mask=people / row["source"] / "masks" / f"{row['id']}.png",
            face=faces.get(row["id"]),
        )
        for row in read_rows(people / "index.csv")
        if row["split"] == split
    ]


def read_faces(data: Path) -> dict[str, FaceBox]:
    """The dominant face of each photo that has one, by the photo's id."""
    return {
        row["id"]: FaceBox(*(float(row[name]) for name in ("x", "y", "w", "h")))
        for row in read_rows(data / "faces.csv")
        if float(row["ratio_face"]) > 0
    }


def read_backgrounds(
    data: Path, split: Split, *, sources: Collection[str] | None = None
) -> list[Path]:
    """Photos without a person, of these sources alone unless None."""
    folder = data / "backgrounds"
    return [
        folder / f"{row['id']}.jpg"
        for row in read_rows(folder / "index.csv")
        if row["split"] == split and (sources is None or row["source"] in sources)
    ]


def read_frame(path: Path, *, at_least: Size | None = None) -> Frame:
    """A photo; `at_least` as in `decode`."""
    encoded = path.read_bytes()
    return decode(encoded, read_header(encoded), min_size=at_least)


def read_rows(index: Path) -> Iterator[dict[str, str]]:
    """Of one of the pack's CSV files."""
    with index.open(newline="") as lines:
        yield from csv.DictReader(lines)
