"""Selects the dominant person of a mask: the rule of `person=dominant`.

A *piece* is an 8-connected component of the pixels over 127. Pieces are found at a reduced size,
which is no smaller than the models' input. Softer pixels, and specks that vanish in the reduction,
belong to the nearest piece. So every pixel belongs to exactly one piece, and is kept or emptied
with it.

1. The dominant piece covers most of the dominant face and of the chest below it. Face and chest
   each count as the share that is covered. If no piece covers enough, or there is no face, the
   largest piece is dominant. Its size counts less the farther it is from the middle of the photo.
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

from silhouette_seg.vision.geometry import Size, resize
from silhouette_seg.vision.mask.quality import Box, person_pixels

MAX_SIDE = 384
"""Longer side, in pixels, at which pieces are found. Gaps under one such pixel may close."""
MAX_REPORTED = 16
"""Maximum number of reported pieces. All pieces are kept or rejected."""

CHEST_FACES = 3
"""Height and width, in faces, of the part below a face that belongs to the same person."""
MIN_COVERED = 0.15
"""Minimum covered share, face and chest summed, for the face to belong to the piece."""
CORNER_WEIGHT = 0.25
"""Weight of a piece's size in the corners of the photo; it is 1 in the middle."""

MAX_GAP = 0.1
"""Maximum gap to a small piece of the same person, as a share of the person's square root area."""
MAX_LIMB_SHARE = 0.25
"""Maximum area of a hand or arm, as a share of the dominant piece's area."""
MIN_OVERLAP = 0.5
"""Minimum share of its width that a piece in line has above or below the dominant piece."""
MAX_GAP_IN_LINE = 0.6
"""Maximum gap to a piece in line, measured as `MAX_GAP`. It may be as large as the dominant piece.

The last four constants are among the best of 1728 combinations. The criterion was the IoU with a
reference of one person, over 1075 masks that three models predicted for training photos.
"""
MIN_PERSON_AREA = 0.01
"""Minimum area of another person, as a share of the dominant piece's area."""


class PieceReason(StrEnum):
    """Reason for keeping or rejecting a piece. The values are part of the API."""

    EVERYONE = "everyone"
    """No person was selected."""
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
    """A connected part of a mask."""

    box: Box
    """Bounding box in pixels of the photo, accurate to a pixel of the reduced size."""
    share: float
    """Share of all person pixels, 0..1."""
    kept: bool
    reason: str
    """A value of `PieceReason`."""


@dataclass(frozen=True, slots=True)
class _Components:
    """Connected components of a reduced mask. The arrays are in the order of labels 1, 2, ..."""

    labels: NDArray[np.int32]
    """[h,w], 0 outside of all components."""
    areas: NDArray[np.int64]
    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    centres: NDArray[np.float64]
    """Centres of mass [K,2] as (row, column)."""

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def size_hw(self) -> Size:
        """Size of the reduced mask."""
        return self.labels.shape[0], self.labels.shape[1]


def find_pieces(alpha: NDArray[np.uint8]) -> tuple[Piece, ...]:
    """Returns the `MAX_REPORTED` largest pieces of a mask uint8 [H,W], largest first, all kept."""
    components = _find_components(alpha)
    return _report(components, [PieceReason.EVERYONE] * len(components), alpha.shape)


def select_dominant(
    alpha: NDArray[np.uint8], face: Box | None
) -> tuple[NDArray[np.uint8], tuple[Piece, ...]]:
    """Returns the mask uint8 [H,W] of the dominant person alone, and its pieces as `find_pieces`.

    `face` is the dominant face in pixels of the mask, or None. If no piece is rejected, the
    returned mask is the same array.
    """
    components = _find_components(alpha)
    if not len(components):
        return alpha, ()
    small_face = face and _scale_box(face, alpha.shape, components.size_hw)
    dominant = _dominant_index(components, small_face)
    reasons = _classify(components, dominant, has_face=face is not None)
    kept = np.array([reason in KEPT_REASONS for reason in reasons])
    pieces = _report(components, reasons, alpha.shape)
    return (alpha if kept.all() else _empty_rejected(alpha, components.labels, kept)), pieces


def _find_components(alpha: NDArray[np.uint8]) -> _Components:
    height, width = alpha.shape
    scale = min(1.0, MAX_SIDE / max(height, width))
    small = resize(alpha, (max(1, round(height * scale)), max(1, round(width * scale))))
    _, labels, stats, centres = cv2.connectedComponentsWithStats(
        person_pixels(small), connectivity=8, ltype=cv2.CV_32S
    )
    columns = np.asarray(stats[1:], np.int64).T
    return _Components(
        labels=np.asarray(labels, np.int32),
        areas=columns[cv2.CC_STAT_AREA],
        tops=columns[cv2.CC_STAT_TOP],
        lefts=columns[cv2.CC_STAT_LEFT],
        heights=columns[cv2.CC_STAT_HEIGHT],
        widths=columns[cv2.CC_STAT_WIDTH],
        centres=np.asarray(centres[1:, ::-1], np.float64),
    )


def _dominant_index(components: _Components, face: Box | None) -> int:
    """Returns the index of the dominant component; `face` is in pixels of the reduced mask."""
    if face is not None:
        chest_top = face.top + face.height
        chest_left = face.left - face.width * (CHEST_FACES - 1) // 2
        chest = Box(chest_top, chest_left, CHEST_FACES * face.height, CHEST_FACES * face.width)
        covered = _covered_shares(components, face) + _covered_shares(components, chest)
        if covered.max() >= MIN_COVERED:
            return int(covered.argmax())
    half = np.array(components.size_hw) / 2
    distance = np.hypot(*((components.centres + 0.5 - half) / half).T) / np.sqrt(2)
    return int((components.areas * (1 - (1 - CORNER_WEIGHT) * distance)).argmax())


def _covered_shares(components: _Components, box: Box) -> NDArray[np.float64]:
    """Returns the share [K] that each component covers of the box's part inside the photo."""
    rows = slice(max(0, box.top), max(0, box.top + box.height))
    columns = slice(max(0, box.left), max(0, box.left + box.width))
    inside = components.labels[rows, columns].ravel()
    return np.bincount(inside, minlength=len(components) + 1)[1:] / max(1, inside.size)


def _classify(components: _Components, dominant: int, *, has_face: bool) -> list[PieceReason]:
    """Returns the reason for each component, given the index of the dominant one."""
    areas = components.areas / components.areas[dominant]
    gaps = _gaps_to(components, dominant) / np.sqrt(components.areas[dominant])
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


def _gaps_to(components: _Components, dominant: int) -> NDArray[np.float32]:
    """Returns the distance [K] in pixels from each component to the dominant one."""
    others = (components.labels != dominant + 1).astype(np.uint8)
    distances = cv2.distanceTransform(others, cv2.DIST_L2, 5)
    gaps = np.full(len(components) + 1, np.inf, np.float32)
    np.minimum.at(gaps, components.labels.ravel(), distances.ravel())
    return gaps[1:]


def _in_line(components: _Components, dominant: int, *, above: bool) -> NDArray[np.bool_]:
    """Returns, for each component [K], whether it lies directly below the dominant one's centre.

    With `above` a component directly above the centre counts as well.
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
    """Empties the pixels nearest to rejected components; `kept` [K] is indexed by component."""
    empty = (labels == 0).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    # OpenCV labels the same components again, in an order of its own.
    kept_level = np.zeros(int(nearest.max()) + 1, np.uint8)
    kept_level[nearest[labels > 0]] = np.where(kept, 255, 0)[labels[labels > 0] - 1]
    height, width = alpha.shape
    window = cv2.resize(kept_level[nearest], (width, height), interpolation=cv2.INTER_LINEAR)
    window = cv2.threshold(window, 127, 255, cv2.THRESH_BINARY, dst=window)[1]
    return np.asarray(cv2.bitwise_and(alpha, window, dst=window), np.uint8)


def _report(
    components: _Components, reasons: list[PieceReason], photo_hw: tuple[int, ...]
) -> tuple[Piece, ...]:
    """Returns the largest pieces, with boxes in pixels of the photo."""
    total = components.areas.sum()
    rows, columns = (side / small for side, small in zip(photo_hw, components.size_hw, strict=True))
    return tuple(
        Piece(
            box=_enclosing_box(
                *(components.tops[index] * rows, components.lefts[index] * columns),
                *(components.heights[index] * rows, components.widths[index] * columns),
            ),
            share=float(components.areas[index] / total),
            kept=reasons[index] in KEPT_REASONS,
            reason=reasons[index],
        )
        for index in np.argsort(-components.areas, kind="stable")[:MAX_REPORTED]
    )


def _scale_box(face: Box, photo_hw: tuple[int, ...], size_hw: Size) -> Box:
    rows, columns = (small / side for side, small in zip(photo_hw, size_hw, strict=True))
    return _enclosing_box(
        face.top * rows, face.left * columns, face.height * rows, face.width * columns
    )


def _enclosing_box(top: float, left: float, height: float, width: float) -> Box:
    """Returns the box of whole pixels that touch the given one."""
    first = int(np.floor(round(top, 6))), int(np.floor(round(left, 6)))
    last = int(np.ceil(round(top + height, 6))), int(np.ceil(round(left + width, 6)))
    return Box(*first, max(1, last[0] - first[0]), max(1, last[1] - first[1]))
