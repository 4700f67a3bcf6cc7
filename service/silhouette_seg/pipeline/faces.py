"""From face boxes to the distance domain that a photo is segmented in."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Placement


class Domain(IntEnum):
    """Distance of the person, by the share of the photo that the dominant face's box covers.

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
        """As the API and the tables spell it: `far_shot`."""
        return self.name.lower()


CUTS = (0.005, 0.05, 0.1, 0.3)
"""The face ratio at which each domain after the first begins."""

CONFIDENT = 0.4
"""Score from which a box is a face: the best on the training photos, see
`training.evaluation.faces`.
"""
SAME_FACE = 0.3
"""IoU from which two boxes are one face."""


@dataclass(frozen=True, slots=True)
class Face:
    """A box inside the photo; sides as shares 0..1 of the photo's."""

    top: float
    left: float
    height: float
    width: float
    score: float

    @property
    def ratio(self) -> float:
        """Share of the photo that the box covers."""
        return self.height * self.width


@dataclass(frozen=True, slots=True)
class Route:
    """Where a photo goes, and the face that decided it."""

    domain: Domain
    face: Face | None

    @property
    def ratio(self) -> float:
        return self.face.ratio if self.face else 0.0


def domain_of(ratio: float) -> Domain:
    """The domain of a face ratio 0..1; 0 means that there is no face."""
    if ratio <= 0:
        return Domain.NO_FACE
    return Domain(sum(ratio >= cut for cut in CUTS))


def route(output: NDArray[Any], placement: Placement, *, confident: float = CONFIDENT) -> Route:
    """One row of the face detector's output to the domain of the photo it saw."""
    face = dominant(find_faces(output, placement, confident=confident))
    return Route(domain_of(face.ratio if face else 0.0), face)


def dominant(faces: list[Face]) -> Face | None:
    """The largest."""
    return max(faces, key=lambda face: face.ratio, default=None)


def find_faces(
    output: NDArray[Any], placement: Placement, *, confident: float = CONFIDENT
) -> list[Face]:
    """Faces of one photo, best first, cut to the photo.

    output float [cells,5]: score 0..1, then top, left, height and width as shares of the input;
    all finite, which `silhouette_seg.engine.health` sees to. A box without an area is no face.
    """
    candidates = output[output[:, 0] >= confident].astype(np.float64)
    candidates = candidates[np.argsort(-candidates[:, 0], kind="stable")]
    first, last = _in_photo(candidates[:, 1:], placement)
    middle = (first + last) / 2
    seen = ((middle > 0) & (middle < 1) & (last > first)).all(axis=1)
    scores, first, last = candidates[seen, 0], first[seen].clip(0, 1), last[seen].clip(0, 1)
    faces = []
    while len(scores):
        top, left = first[0].tolist()
        height, width = (last[0] - first[0]).tolist()
        faces.append(Face(top, left, height, width, float(scores[0])))
        others = _iou(first, last) < SAME_FACE
        scores, first, last = scores[others], first[others], last[others]
    return faces


def _in_photo(
    boxes: NDArray[np.float64], placement: Placement
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and last corners [K,2] (row, column) as shares of the photo, from shares of the
    input.
    """
    origin = np.array([placement.top, placement.left])
    sides = np.array([placement.height, placement.width])
    corner = (boxes[:, :2] * placement.size_hw - origin) / sides
    return corner, corner + boxes[:, 2:] * placement.size_hw / sides


def _iou(first: NDArray[np.float64], last: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the first box with each, [K]; with itself it is always 1."""
    shared = (np.minimum(last, last[0]) - np.maximum(first, first[0])).clip(0).prod(axis=1)
    areas = (last - first).prod(axis=1)
    iou = shared / (areas + areas[0] - shared).clip(np.finfo(np.float64).tiny)
    iou[0] = 1
    return np.asarray(iou)
