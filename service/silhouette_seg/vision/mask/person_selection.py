"""Selects the dominant person of a mask: the rule of `person=dominant`.

A *piece* is an 8-connected component of the mask's pixels with an alpha over 127. Pieces are found
at a reduced size, which is no smaller than the models' input. Softer pixels, and specks that vanish
in the reduction, belong to the nearest piece. So every pixel belongs to exactly one piece, and is
kept or set to 0 with it.

1. The dominant piece covers most of the dominant face and of the chest below it. Face and chest
   each count as the share that is covered. If no piece covers enough, or there is no face, the
   largest piece is dominant. The size of a piece counts less the farther it is from the middle.
2. A smaller piece belongs to the same person if the gap between them is narrow relative to the
   person's size. Examples are an arm behind a pole and a hand beyond a cup. A larger piece, or
   one across a wider gap, belongs to the person only in line with it. In line is directly below,
   as legs under a table. Without a face it is also directly above, as head and chest over the
   dominant legs.
3. Every other piece is rejected and reported, as another person or as too small to be one.

Two people that touch in the mask are one piece, and so are a person and a held object. They are
kept or rejected together. Another person's piece is kept if it is as small and as close as a
hand.
"""

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.mask.components import (
    Components,
    covered_shares,
    enclosing_box,
    find_components,
    gaps_to,
    nearest_component,
    scale_box,
)
from silhouette_seg.vision.mask.quality import Box

MAX_REPORTED = 16
"""Maximum number of pieces in a report. Pieces that are not reported are kept or rejected too."""

CHEST_FACES = 3
"""Height and width of the chest, the area below a face, as multiples of the face's."""
MIN_COVERED = 0.15
"""Minimum coverage of face and chest by the piece to which a face belongs.

It is the sum of the covered shares of both, 0..2.
"""
CORNER_WEIGHT = 0.25
"""Factor on the size of a piece in a corner of the photo. It is 1 in the middle."""

MAX_GAP = 0.1
"""Maximum gap between the dominant piece and a small piece of the same person.

The gap is divided by the square root of the dominant piece's area.
"""
MAX_LIMB_SHARE = 0.25
"""Maximum area of a piece that counts as a hand or arm, relative to the dominant piece's area."""
MIN_OVERLAP = 0.5
"""Minimum overlap of a piece in line with the dominant piece.

It is the share of the piece's width that lies above or below the dominant piece.
"""
MAX_GAP_IN_LINE = 0.6
"""Maximum gap to a piece in line with the dominant piece, measured as `MAX_GAP`.

A piece in line may be as large as the dominant piece. This value, MAX_GAP, MAX_LIMB_SHARE and
MIN_OVERLAP are among the best of 1728 combinations. The criterion was the IoU with a reference of
one person, over 1075 masks that three models predicted for training photos.
"""
MIN_PERSON_AREA = 0.01
"""Minimum area of a rejected piece reported as another person, relative to the dominant piece's."""


class PieceReason(StrEnum):
    """Reason for keeping or rejecting a piece of a mask. The values are part of the API."""

    EVERYONE = "everyone"
    """All people were requested, so every piece is kept."""
    DOMINANT = "dominant"
    NEAR = "near the dominant person"
    IN_LINE = "in line with the dominant person"
    OTHER = "another person"
    SPECK = "too small"


KEPT_REASONS = frozenset(
    {PieceReason.EVERYONE, PieceReason.DOMINANT, PieceReason.NEAR, PieceReason.IN_LINE}
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A connected part of a mask, and whether it is kept."""

    box: Box
    """Bounding box in pixels of the photo, accurate to a pixel of the reduced mask."""
    share: float
    """Share of all person pixels of the mask, 0..1."""
    kept: bool
    reason: str
    """A value of `PieceReason`."""


def find_pieces(alpha: NDArray[np.uint8]) -> tuple[Piece, ...]:
    """Returns the largest pieces of a mask, uint8 [H,W], largest first and all kept.

    There are at most MAX_REPORTED.
    """
    components = find_components(alpha)
    return _report(components, [PieceReason.EVERYONE] * len(components), alpha.shape)


def select_dominant(
    alpha: NDArray[np.uint8], face: Box | None
) -> tuple[NDArray[np.uint8], tuple[Piece, ...]]:
    """Returns the mask, uint8 [H,W], of the dominant person alone, and a report of its pieces.

    `alpha` is the mask of all people, uint8 [H,W]. `face` is the dominant face in pixels of the
    mask, or None. The report has at most MAX_REPORTED pieces, largest first, with the reason for
    each. If no piece is rejected, the returned mask is the same array.
    """
    components = find_components(alpha)
    if not len(components):
        return alpha, ()
    small_face = face and scale_box(face, alpha.shape, components.size_hw)
    dominant = _dominant_index(components, small_face)
    gaps = gaps_to(components, dominant)
    reasons = classify(components, dominant, gaps, has_face=face is not None)
    kept = np.array([reason in KEPT_REASONS for reason in reasons])
    pieces = _report(components, reasons, alpha.shape)
    return (alpha if kept.all() else _empty_rejected(alpha, components.labels, kept)), pieces


def _dominant_index(components: Components, face: Box | None) -> int:
    """Returns the index, from 0, of the component of the dominant person.

    `face` is the dominant face in pixels of the reduced mask, or None. The component covers it, or
    is large and near the middle.
    """
    if face is not None and (owner := face_owner(components, face)) is not None:
        return owner
    half = np.array(components.size_hw) / 2
    distance = np.hypot(*((components.centres + 0.5 - half) / half).T) / np.sqrt(2)
    return int((components.areas * (1 - (1 - CORNER_WEIGHT) * distance)).argmax())


def face_owner(components: Components, face: Box) -> int | None:
    """Returns the index, from 0, of the component that covers most of a face and its chest.

    The face is in pixels of the reduced mask. Returns None if no component covers enough.
    """
    chest_top = face.top + face.height
    chest_left = face.left - face.width * (CHEST_FACES - 1) // 2
    chest = Box(chest_top, chest_left, CHEST_FACES * face.height, CHEST_FACES * face.width)
    covered = covered_shares(components, face) + covered_shares(components, chest)
    return int(covered.argmax()) if covered.max() >= MIN_COVERED else None


def classify(
    components: Components, dominant: int, gaps: NDArray[np.float32], *, has_face: bool
) -> list[PieceReason]:
    """Returns the reason for keeping or rejecting each component, in their order.

    `dominant` is the index of the dominant component, and `gaps` [K] are those of `gaps_to` it.
    `has_face` is true if a dominant face is known.
    """
    areas = components.areas / components.areas[dominant]
    gaps = gaps / np.sqrt(components.areas[dominant])
    in_line = _in_line(components, dominant, above=not has_face)
    reasons = np.select(
        [
            (gaps <= MAX_GAP) & (areas <= MAX_LIMB_SHARE),
            (gaps <= MAX_GAP_IN_LINE) & (areas <= 1) & in_line,
        ],
        [PieceReason.NEAR, PieceReason.IN_LINE],
        np.where(areas < MIN_PERSON_AREA, PieceReason.SPECK, PieceReason.OTHER),
    )
    reasons[dominant] = PieceReason.DOMINANT
    return [PieceReason(reason) for reason in reasons.tolist()]


def _in_line(components: Components, dominant: int, *, above: bool) -> NDArray[np.bool_]:
    """Returns, for each component [K], whether it lies directly below the dominant one's centre.

    Directly means that MIN_OVERLAP of its width overlaps the dominant one's. With `above` a
    component directly above the centre counts as well.
    """
    lefts, rights = components.lefts, components.lefts + components.widths
    overlap = np.minimum(rights, rights[dominant]) - np.maximum(lefts, lefts[dominant])
    centre = components.centres[dominant, 0]
    beyond = components.tops > centre
    if above:
        beyond |= components.tops + components.heights <= centre
    return np.asarray(beyond & (overlap >= MIN_OVERLAP * components.widths))


def _empty_rejected(
    alpha: NDArray[np.uint8], labels: NDArray[np.int32], kept: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Sets the pixels of a mask that are nearest to a rejected component to 0.

    The mask is uint8 [H,W], and `labels` [h,w] are those of the reduced mask. `kept` [K] is indexed
    by component. Returns a new mask.
    """
    kept_level = np.where(kept, 255, 0).astype(np.uint8)
    height, width = alpha.shape
    window = cv2.resize(
        kept_level[nearest_component(labels)], (width, height), interpolation=cv2.INTER_LINEAR
    )
    window = cv2.threshold(window, 127, 255, cv2.THRESH_BINARY, dst=window)[1]
    return np.asarray(cv2.bitwise_and(alpha, window, dst=window), np.uint8)


def _report(
    components: Components, reasons: list[PieceReason], photo_hw: tuple[int, ...]
) -> tuple[Piece, ...]:
    """Returns the MAX_REPORTED largest components as pieces, with boxes in pixels of the photo."""
    total = components.areas.sum()
    rows, columns = (side / small for side, small in zip(photo_hw, components.size_hw, strict=True))
    return tuple(
        Piece(
            box=enclosing_box(
                *(components.tops[index] * rows, components.lefts[index] * columns),
                *(components.heights[index] * rows, components.widths[index] * columns),
            ),
            share=float(components.areas[index] / total),
            kept=reasons[index] in KEPT_REASONS,
            reason=reasons[index],
        )
        for index in np.argsort(-components.areas, kind="stable")[:MAX_REPORTED]
    )
