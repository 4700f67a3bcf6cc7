"""Decides the distance domain of a photo from the boxes that the face detector predicts."""

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
        """Name of the domain in the API and in tables, for example `far_shot`."""
        return self.name.lower()


DOMAIN_MIN_RATIOS = (0.005, 0.05, 0.1, 0.3)
"""Minimum face ratio of each domain from WHOLE_BODY to HEAD_SHOT."""

MIN_SCORE = 0.4
"""Minimum score of a face: the best on the training photos, see `training.evaluation.faces`."""
NMS_IOU = 0.3
"""Minimum IoU at which two boxes are one face."""


@dataclass(frozen=True, slots=True)
class Face:
    """A box inside the photo; all sides are shares 0..1 of the photo's."""

    top: float
    left: float
    height: float
    width: float
    score: float

    @property
    def ratio(self) -> float:
        """Share of the photo that the box covers, 0..1."""
        return self.height * self.width


@dataclass(frozen=True, slots=True)
class DomainDecision:
    """The domain of a photo, and the dominant face that decided it."""

    domain: Domain
    face: Face | None
    detector_ran: bool
    """False if the domain was given and no face was searched for."""

    @property
    def face_ratio(self) -> float | None:
        """Share of the photo that the face covers: 0 without a face, None without a search."""
        if not self.detector_ran:
            return None
        return self.face.ratio if self.face else 0.0


def domain_of(ratio: float) -> Domain:
    """Returns the domain of a face ratio 0..1; a ratio of 0 means that there is no face."""
    if ratio <= 0:
        return Domain.NO_FACE
    return Domain(sum(ratio >= minimum for minimum in DOMAIN_MIN_RATIOS))


def decide_domain(
    output: NDArray[Any], placement: Placement, *, min_score: float = MIN_SCORE
) -> DomainDecision:
    """Decides the domain of a photo from its row of the detector's output, as `find_faces`."""
    face = dominant_face(find_faces(output, placement, min_score=min_score))
    return DomainDecision(domain_of(face.ratio if face else 0.0), face, detector_ran=True)


def dominant_face(faces: list[Face]) -> Face | None:
    """Returns the largest face; None without any."""
    return max(faces, key=lambda face: face.ratio, default=None)


def find_faces(
    output: NDArray[Any], placement: Placement, *, min_score: float = MIN_SCORE
) -> list[Face]:
    """Returns the faces of one photo, best first, clipped to the photo.

    `output` is float [cells,5]: score 0..1, then top, left, height and width as shares of the
    model input. All values are finite, which `silhouette_seg.engine.health` ensures. A box
    without area is no face.
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
    """Converts boxes from shares of the model input to corners as shares of the photo.

    Returns the first and the last corners, [K,2] each as (row, column).
    """
    origin = np.array([placement.top, placement.left])
    sides = np.array([placement.height, placement.width])
    corner = (boxes[:, :2] * placement.size_hw - origin) / sides
    return corner, corner + boxes[:, 2:] * placement.size_hw / sides


def _iou_with_first(first: NDArray[np.float64], last: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the IoU of the first box with each box, [K]; with itself it is always 1."""
    shared = (np.minimum(last, last[0]) - np.maximum(first, first[0])).clip(0).prod(axis=1)
    areas = (last - first).prod(axis=1)
    iou = shared / (areas + areas[0] - shared).clip(np.finfo(np.float64).tiny)
    iou[0] = 1
    return np.asarray(iou)
