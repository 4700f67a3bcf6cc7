"""Describes each person of a segmented photo: box, area, mask, faces and confidence."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.pipeline.faces import Face
from silhouette_seg.pipeline.options import MaskEncoding
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.vision.geometry import Size, resize
from silhouette_seg.vision.mask import quality
from silhouette_seg.vision.mask.coco import Polygon, encode_rle, to_polygons
from silhouette_seg.vision.mask.person_separation import Separation, separate_people

NO_DETECTOR = "There is no face detector, so only gaps separate people."
FACELESS = "A body has no visible face, so it may be several people."


@dataclass(frozen=True, slots=True)
class Person:
    """One person of a photo, or several people that touch in the mask."""

    box: quality.Box
    """Bounding box in pixels of the photo."""
    area: int
    """Number of pixels with an alpha over 127."""
    segmentation: str | list[Polygon]
    """Mask of the whole photo: compressed run lengths or polygons, see `vision.mask.coco`."""
    faces: tuple[Face, ...]
    """Faces that belong to the body, highest score first."""
    confidence: float | None
    """Expected share of correct pixels along the outline of the model's mask, 0.5..1.

    None if the person has no outline there.
    """

    @property
    def is_crowd(self) -> bool:
        """True if the faces show that the entry has several people."""
        return len(self.faces) > 1


@dataclass(frozen=True, slots=True)
class People:
    """The people of a photo, the largest first. Their masks are disjoint and together the mask."""

    people: tuple[Person, ...]
    reason: str | None
    """A sentence on why an entry has, or may have, several people; None if there is no sign of it.
    """


def describe_people(mask: NDArray[np.uint8], matte: Matte, encoding: MaskEncoding) -> People:
    """Separates the people of a mask, uint8 [H,W] at the size of the photo, and describes each.

    `matte` is the prediction from which the mask was made; confidences are those of its alpha.
    Raises UnprocessableImage for a mask with too many edges.
    """
    photo_hw = mask.shape[0], mask.shape[1]
    faces = matte.decision.faces if matte.decision else ()
    separation = separate_people(mask, [face.box(photo_hw) for face in faces])
    owners = _resize_owners(separation, photo_hw)
    cv2.copyTo(np.zeros_like(owners), cv2.bitwise_not(quality.person_pixels(mask)), owners)
    confidences = _confidences(matte, separation)
    people = []
    for number, indices in enumerate(separation.faces, 1):
        own = np.asarray(cv2.inRange(owners, number, number), np.uint8)
        box = quality.bounding_box(own)
        if box is None:
            continue  # a speck that the edits of the mask have left at the reduced size alone
        part = own[box.top : box.top + box.height, box.left : box.left + box.width]
        person = Person(
            box=box,
            area=cv2.countNonZero(part),
            segmentation=_encode(part, box, photo_hw, encoding),
            faces=tuple(faces[index] for index in indices),
            confidence=confidences[number - 1],
        )
        people.append(person)
    people.sort(key=lambda person: -person.area)
    return People(tuple(people), _reason(people, matte))


def _encode(
    part: NDArray[np.uint8], box: quality.Box, photo_hw: Size, encoding: MaskEncoding
) -> str | list[Polygon]:
    if encoding is MaskEncoding.RLE:
        return encode_rle(part, box, photo_hw)
    return to_polygons(part, box)


def _resize_owners(separation: Separation, size_hw: Size) -> NDArray[np.uint8]:
    """Returns the number of the person nearest to each pixel of an image, uint8 [*size_hw]."""
    size_wh = size_hw[1], size_hw[0]
    owners = cv2.resize(separation.owners, size_wh, interpolation=cv2.INTER_NEAREST)
    return np.asarray(owners, np.uint8)


def _confidences(matte: Matte, separation: Separation) -> list[float | None]:
    """Returns the confidence of each person, at the size at which the model's mask was measured.

    A person that grew out of uncertain pixels has no outline there, and so no confidence.
    """
    size_hw = matte.quality.size_hw
    alpha, owners = resize(matte.alpha, size_hw), _resize_owners(separation, size_hw)
    numbers = range(1, len(separation.faces) + 1)
    return [
        quality.measure_quality(np.where(owners == number, alpha, np.uint8(0))).confidence
        for number in numbers
    ]


def _reason(people: list[Person], matte: Matte) -> str | None:
    if matte.decision is None or not matte.decision.detector_ran:
        return NO_DETECTOR
    crowds = [len(person.faces) for person in people if person.is_crowd]
    if not crowds:
        return FACELESS if any(not person.faces for person in people) else None
    bodies = "one connected body" if len(crowds) == 1 else f"{len(crowds)} connected bodies"
    return f"{sum(crowds)} faces are on {bodies}: people touch and cannot be separated."
