"""Readers of the labelled photos: `people/index.csv` and `people/<source>/{images,masks}`."""

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
    """Box of a face: left, top, width and height as shares of the photo's sides."""

    x: float
    y: float
    w: float
    h: float

    @property
    def ratio(self) -> float:
        """Share of the photo's area that the box covers, 0..1."""
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
    """Dominant face, or None if the reference found none."""
    soft: bool = False
    """True for the mask of a model: it may be smaller than the photo and uncertain in parts."""

    @property
    def domain(self) -> Domain:
        """Distance domain of the dominant face."""
        return domain_of(self.face.ratio if self.face else 0.0)

    def rgb(self) -> NDArray[np.uint8]:
        """Reads the photo, uint8 [H,W,3]."""
        return read_frame(self.image).rgb

    def frame(self, min_size: Size) -> Frame:
        """Decodes the photo as the service does for a request of the mask alone."""
        return read_frame(self.image, min_size=min_size)

    def truth(self) -> NDArray[np.uint8]:
        """Reads the mask uint8 [H,W], 0 background to 255 person.

        A soft mask may be smaller than the photo. Raises ValueError if the file is not an image.
        """
        mask = cv2.imread(str(self.mask), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise ValueError(f"{self.mask} is not an image")
        return np.asarray(mask, np.uint8)

    def pixel_weight(self, truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns uint8 [H,W]: 255 where `truth`, the mask of this photo, is certain, else 0.

        A soft mask is uncertain at outlines and where its model, or several views, disagree.
        """
        if not self.soft:
            return np.full_like(truth, 255)
        low, high = (255 * share for share in UNCERTAIN_RANGE)
        return np.where((truth > low) & (truth < high), 0, 255).astype(np.uint8)


def read_portraits(data: Path, split: Split) -> list[Portrait]:
    """Reads the photos of one split, in the order of the index."""
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
    """Reads the dominant face of each photo with a face, by the photo's id."""
    return {
        row["id"]: FaceBox(*(float(row[name]) for name in ("x", "y", "w", "h")))
        for row in read_rows(data / "faces.csv")
        if float(row["ratio_face"]) > 0
    }


def read_backgrounds(
    data: Path, split: Split, *, sources: Collection[str] | None = None
) -> list[Path]:
    """Returns the files of the photos without a person in one split.

    `sources` limits them to these sources; None means all.
    """
    folder = data / "backgrounds"
    return [
        folder / f"{row['id']}.jpg"
        for row in read_rows(folder / "index.csv")
        if row["split"] == split and (sources is None or row["source"] in sources)
    ]


def read_frame(path: Path, *, min_size: Size | None = None) -> Frame:
    """Decodes a photo; `min_size` (height, width) allows a reduced decode, as in `decode`."""
    encoded = path.read_bytes()
    return decode(encoded, read_header(encoded), min_size=min_size)


def read_rows(index: Path) -> Iterator[dict[str, str]]:
    """Yields the rows of a CSV file of the data pack."""
    with index.open(newline="") as lines:
        yield from csv.DictReader(lines)
