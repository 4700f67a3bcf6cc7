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


DOMAIN_MIN_RATIOS = (0.005, 0.05, 0.1, 0.3)
"""The face ratio at which each domain after the first begins."""

MIN_SCORE = 0.4
"""Score from which a box is a face: the best on the training photos, see
`training.evaluation.faces`.
"""
NMS_IOU = 0.3
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
class DomainDecision:
    """The domain of a photo, and the dominant face in it."""

    domain: Domain
    face: Face | None
    detector_ran: bool
    """Whether anybody looked for a face."""

    @property
    def face_ratio(self) -> float | None:
        """Share of the photo that the face covers: 0 without one, None when nobody looked."""
        if not self.detector_ran:
            return None
        return self.face.ratio if self.face else 0.0


def domain_of(ratio: float) -> Domain:
    """The domain of a face ratio 0..1; 0 means that there is no face."""
    if ratio <= 0:
        return Domain.NO_FACE
    return Domain(sum(ratio >= cut for cut in DOMAIN_MIN_RATIOS))


def decide_domain(
    output: NDArray[Any], placement: Placement, *, min_score: float = MIN_SCORE
) -> DomainDecision:
    """One row of the face detector's output to the domain of the photo it saw."""
    face = dominant_face(find_faces(output, placement, min_score=min_score))
    return DomainDecision(domain_of(face.ratio if face else 0.0), face, detector_ran=True)


def dominant_face(faces: list[Face]) -> Face | None:
    """The largest."""
    return max(faces, key=lambda face: face.ratio, default=None)


def find_faces(
    output: NDArray[Any], placement: Placement, *, min_score: float = MIN_SCORE
) -> list[Face]:
    """Faces of one photo, best first, cut to the photo.

    output float [cells,5]: score 0..1, then top, left, height and width as shares of the input;
    all finite, which `silhouette_seg.engine.health` sees to. A box without an area is no face.
    """
    candidates = output[output[:, 0] >= min_score].astype(np.float64)
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
        others = _iou(first, last) < NMS_IOU
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
