"""Decides the distance domain of a photo from the boxes that the face detector predicts.

The domain is one of six classes of how near the person is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Placement, Size
from silhouette_seg.vision.mask.quality import Box


class Domain(IntEnum):
    """Distance of the person, in classes by the share of the photo that the largest face covers.

    Source: Multi-domain TriSeNet. The value is the index of the network's branch.
    """

    FAR_SHOT = 0
    WHOLE_BODY = 1
    HALF_BODY = 2
    CLOSE_SHOT = 3
    HEAD_SHOT = 4
    NO_FACE = 5

    @property
    def label(self) -> str:
        """Name of the domain in the API and in tables, for example `far_shot`."""
        return self.name.lower()


DOMAIN_MIN_RATIOS = (0.005, 0.05, 0.1, 0.3)
"""Smallest face ratio, 0..1, of WHOLE_BODY, HALF_BODY, CLOSE_SHOT and HEAD_SHOT, in order.

The face ratio is the share of the photo that the face's box covers.
"""

MIN_SCORE = 0.4
"""Minimum detector score, 0..1, of a face.

It is the best on the training photos, see `training.evaluation.faces`.
"""
NMS_IOU = 0.3
"""Overlap of two boxes, as intersection over union, from which they are one face."""


@dataclass(frozen=True, slots=True)
class Face:
    """Box of a face inside a photo, and its detector score, 0..1.

    `top` and `height` are relative to the photo's height, `left` and `width` to its width, all
    0..1.
    """

    top: float
    left: float
    height: float
    width: float
    score: float

    @property
    def ratio(self) -> float:
        """Share of the photo's area that the box covers, 0..1."""
        return self.height * self.width

    def contains_centre(self, other: "Face") -> bool:
        """Returns whether the centre of another face lies inside this box."""
        row = other.top + other.height / 2 - self.top
        column = other.left + other.width / 2 - self.left
        return 0 <= row <= self.height and 0 <= column <= self.width

    def box(self, photo_hw: Size) -> Box:
        """Returns the box in pixels of a photo of (height, width) `photo_hw`."""
        height, width = photo_hw
        return Box(
            top=round(self.top * height),
            left=round(self.left * width),
            height=max(1, round(self.height * height)),
            width=max(1, round(self.width * width)),
        )


@dataclass(frozen=True, slots=True)
class DomainDecision:
    """The distance domain of a photo, and its faces, of which the largest decides the domain."""

    domain: Domain
    faces: tuple[Face, ...]
    """Distinct faces of the photo, highest score first; empty if the detector did not run."""
    detector_ran: bool
    """True if the face detector ran; False if the domain was fixed without it."""

    @property
    def face(self) -> Face | None:
        """The largest face; None if there is none."""
        return dominant_face(self.faces)

    @property
    def face_ratio(self) -> float | None:
        """Share of the photo that the largest face covers, 0..1.

        It is 0 if the detector found no face, and None if it did not run.
        """
        if not self.detector_ran:
            return None
        return self.face.ratio if self.face else 0.0


def domain_of(ratio: float) -> Domain:
    """Returns the domain for the share of a photo that its largest face covers, 0..1.

    A share of 0 means that there is no face.
    """
    if ratio <= 0:
        return Domain.NO_FACE
    return Domain(sum(ratio >= minimum for minimum in DOMAIN_MIN_RATIOS))


def decide_domain(
    output: NDArray[Any], placement: Placement, *, min_score: float = MIN_SCORE
) -> DomainDecision:
    """Decides the domain of a photo by the largest face in the face detector's output for it.

    The arguments are those of `find_faces`.
    """
    faces = distinct_faces(find_faces(output, placement, min_score=min_score))
    face = dominant_face(faces)
    return DomainDecision(domain_of(face.ratio if face else 0.0), faces, detector_ran=True)


def distinct_faces(faces: Sequence[Face]) -> tuple[Face, ...]:
    """Returns the faces, in order, without those that have their centre inside a larger one.

    The detector sometimes frames a head and, in a much smaller box, a part of it. `NMS_IOU` does
    not join such boxes.
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.ratio):
        if not any(larger.contains_centre(face) for larger in kept):
            kept.append(face)
    return tuple(face for face in faces if face in kept)


def dominant_face(faces: Sequence[Face]) -> Face | None:
    """Returns the face with the largest box; None if there is no face."""
    return max(faces, key=lambda face: face.ratio, default=None)


def find_faces(
    output: NDArray[Any], placement: Placement, *, min_score: float = MIN_SCORE
) -> list[Face]:
    """Returns the faces in the detector's output for one photo, highest score first.

    `output` is float [cells,5]: score 0..1, then top, left, height and width relative to the model
    input. All values are finite, which `silhouette_seg.engine.health` ensures. `placement` is the
    photo's rectangle in that input. A box is no face if its score is under `min_score`, its centre
    outside the photo, or its area 0. Boxes that overlap by `NMS_IOU` are one face. The returned
    boxes are clipped to the photo.
    """
    candidates = output[output[:, 0] >= min_score].astype(np.float64)
    candidates = candidates[np.argsort(-candidates[:, 0], kind="stable")]
    first, last = _corners_in_photo(candidates[:, 1:], placement)
    centre = (first + last) / 2
    valid = ((centre > 0) & (centre < 1) & (last > first)).all(axis=1)
    scores, first, last = candidates[valid, 0], first[valid].clip(0, 1), last[valid].clip(0, 1)
    faces = []
    while len(scores):
        top, left = first[0].tolist()
        height, width = (last[0] - first[0]).tolist()
        faces.append(Face(top, left, height, width, float(scores[0])))
        others = _iou_with_first(first, last) < NMS_IOU
        scores, first, last = scores[others], first[others], last[others]
    return faces


def _corners_in_photo(
    boxes: NDArray[np.float64], placement: Placement
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Converts boxes [K,4] from positions relative to the model input to positions in the photo.

    A box is (top, left, height, width), and `placement` is the photo's rectangle in the input.
    Returns the upper left and the lower right corners, [K,2] each as (row, column), relative to the
    photo.
    """
    origin = np.array([placement.top, placement.left])
    sides = np.array([placement.height, placement.width])
    corner = (boxes[:, :2] * placement.size_hw - origin) / sides
    return corner, corner + boxes[:, 2:] * placement.size_hw / sides


def _iou_with_first(first: NDArray[np.float64], last: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the intersection over union of the first box with each of K boxes, [K], 0..1.

    `first` and `last` are the upper left and the lower right corners, [K,2]. The first result is
    always 1.
    """
    shared = (np.minimum(last, last[0]) - np.maximum(first, first[0])).clip(0).prod(axis=1)
    areas = (last - first).prod(axis=1)
    iou = shared / (areas + areas[0] - shared).clip(np.finfo(np.float64).tiny)
    iou[0] = 1
    return np.asarray(iou)
