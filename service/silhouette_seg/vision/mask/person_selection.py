"""Which parts of a mask are the dominant person: the rule of `person=dominant`.

A *piece* is an 8-connected component of the pixels over 127, seen at a reduced size, which is no
less than the models see. Softer pixels, and specks that vanish when the mask is reduced, go with
the nearest piece. So every pixel belongs to exactly one piece, and is kept or emptied with it.

1. The dominant piece is the one that covers most of the dominant face and of the chest below it,
   each counted as the share that is covered. Where no piece covers enough of them, or there is
   no face, it is the largest, size counting less away from the middle of the picture.
2. A smaller piece belongs to the same person when the gap between them is narrow beside the
   person's size: an arm behind a pole, a hand beyond a cup. A larger one does so, and across a
   wider gap, only in line with the person: right below, as legs under a table, or without a
   face right above, as the head and chest of the dominant legs.
3. Every other piece is rejected, and told of: another person, or too small to be one.

Two people who touch in the mask are one piece, and are kept or rejected together; so is what a
person holds. Another person's piece is kept when it is small and close enough for a hand.
"""

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Size, resize
from silhouette_seg.vision.mask.quality import Box, person_pixels

MAX_SIDE = 384
"""Pixels of the longer side that pieces are looked for in; gaps of less than one may close."""
MAX_REPORTED = 16
"""Pieces that are told of; all are kept or rejected."""

CHEST_FACES = 3
"""Faces high and wide: the part below a face that is surely the same person's."""
MIN_COVERED = 0.15
"""Shares of face and chest, summed, that a piece covers if the face is its own."""
CORNER_WEIGHT = 0.25
"""What size counts in the corners; all of it in the middle."""

MAX_GAP = 0.1
"""The widest gap to one's own piece, as a share of the square root of the person's area."""
MAX_LIMB_SHARE = 0.25
"""Of the dominant piece's area: what is larger is no hand or arm."""
MIN_OVERLAP = 0.5
"""Share of its width that a piece in line with the dominant one has above or below it."""
MAX_GAP_IN_LINE = 0.6
"""The widest gap to a piece in line, measured as `NEAR`; it may be as large as the dominant one.

`NEAR`, `SMALL`, `IN_LINE` and `FAR` are among the best of 1728 combinations for 1075 masks that
three models gave of training photos, by their IoU with the reference, in which one person counts.
"""
MIN_PERSON_AREA = 0.01
"""Of the dominant piece's area: what is smaller is not called a person."""


class PieceReason(StrEnum):
    """Why a piece is kept or not."""

    EVERYONE = "everyone"
    """Nobody chose."""
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
    """A part of a mask that touches no other."""

    box: Box
    """To within a pixel of the reduced size."""
    share: float
    """Of all person pixels, 0..1."""
    kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Components:
    """Those of a reduced mask; arrays are in the order of the labels 1, 2, ..."""

    labels: NDArray[np.int32]
    """[h,w], 0 where there is no person."""
    areas: NDArray[np.int64]
    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    middles: NDArray[np.float64]
    """Centres of mass [K,2] as (row, column)."""

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def size_hw(self) -> Size:
        return self.labels.shape[0], self.labels.shape[1]


def find_pieces(alpha: NDArray[np.uint8]) -> tuple[Piece, ...]:
    """Those of a mask uint8 [H,W] that is kept whole, the largest first, `REPORTED` at most."""
    found = _find_components(alpha)
    return _report(found, [PieceReason.EVERYONE] * len(found), alpha.shape)


def select_dominant(
    alpha: NDArray[np.uint8], face: Box | None
) -> tuple[NDArray[np.uint8], tuple[Piece, ...]]:
    """The mask uint8 [H,W] of the dominant person alone, and the pieces as `pieces` has them.

    `face` is the dominant one, in pixels of the mask; None where there is none. The same array
    comes back where nothing was rejected.
    """
    found = _find_components(alpha)
    if not len(found):
        return alpha, ()
    small = face and _scale_box(face, alpha.shape, found.size_hw)
    reasons = _classify(found, _dominant_index(found, small), has_face=face is not None)
    kept = np.array([reason in KEPT_REASONS for reason in reasons])
    told = _report(found, reasons, alpha.shape)
    return (alpha if kept.all() else _empty_rejected(alpha, found.labels, kept)), told


def _find_components(alpha: NDArray[np.uint8]) -> _Components:
    height, width = alpha.shape
    scale = min(1.0, MAX_SIDE / max(height, width))
    small = resize(alpha, (max(1, round(height * scale)), max(1, round(width * scale))))
    _, labels, stats, middles = cv2.connectedComponentsWithStats(
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
        middles=np.asarray(middles[1:, ::-1], np.float64),
    )


def _dominant_index(found: _Components, face: Box | None) -> int:
    """The dominant piece's place."""
    if face is not None:
        chest_top, chest_left = (
            face.top + face.height,
            face.left - face.width * (CHEST_FACES - 1) // 2,
        )
        chest = Box(chest_top, chest_left, CHEST_FACES * face.height, CHEST_FACES * face.width)
        covered = _covered_shares(found, face) + _covered_shares(found, chest)
        if covered.max() >= MIN_COVERED:
            return int(covered.argmax())
    half = np.array(found.size_hw) / 2
    away = np.hypot(*((found.middles + 0.5 - half) / half).T) / np.sqrt(2)
    return int((found.areas * (1 - (1 - CORNER_WEIGHT) * away)).argmax())


def _covered_shares(found: _Components, box: Box) -> NDArray[np.float64]:
    """The share [K] of the box's part inside the picture that each piece covers."""
    rows = slice(max(0, box.top), max(0, box.top + box.height))
    columns = slice(max(0, box.left), max(0, box.left + box.width))
    inside = found.labels[rows, columns].ravel()
    return np.bincount(inside, minlength=len(found) + 1)[1:] / max(1, inside.size)


def _classify(found: _Components, lead: int, *, has_face: bool) -> list[PieceReason]:
    """What becomes of each piece beside the dominant one."""
    areas = found.areas / found.areas[lead]
    gaps = _gaps_to(found, lead) / np.sqrt(found.areas[lead])
    in_line = _in_line(found, lead, above=not has_face)
    verdicts = np.select(
        [
            (gaps <= MAX_GAP) & (areas <= MAX_LIMB_SHARE),
            (gaps <= MAX_GAP_IN_LINE) & (areas <= 1) & in_line,
        ],
        [PieceReason.NEAR, PieceReason.IN_LINE],
        np.where(areas < MIN_PERSON_AREA, PieceReason.SPECK, PieceReason.OTHER),
    )
    verdicts[lead] = PieceReason.DOMINANT
    return [PieceReason(verdict) for verdict in verdicts.tolist()]


def _gaps_to(found: _Components, lead: int) -> NDArray[np.float32]:
    """Pixels from each piece to the dominant one [K]."""
    far = cv2.distanceTransform((found.labels != lead + 1).astype(np.uint8), cv2.DIST_L2, 5)
    gaps = np.full(len(found) + 1, np.inf, np.float32)
    np.minimum.at(gaps, found.labels.ravel(), far.ravel())
    return gaps[1:]


def _in_line(found: _Components, lead: int, *, above: bool) -> NDArray[np.bool_]:
    """Whether each piece [K] is right below the dominant one's middle, or right above it."""
    right, middle = found.lefts + found.widths, found.middles[lead, 0]
    shared = np.minimum(right, right[lead]) - np.maximum(found.lefts, found.lefts[lead])
    apart = found.tops > middle
    if above:
        apart |= found.tops + found.heights <= middle
    return np.asarray(apart & (shared >= MIN_OVERLAP * found.widths))


def _empty_rejected(
    alpha: NDArray[np.uint8], labels: NDArray[np.int32], kept: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Empties what is nearest to a rejected piece; `kept` [K] is by piece."""
    empty = (labels == 0).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    # its labels number the same pieces in an order of its own
    mine = np.zeros(int(nearest.max()) + 1, np.uint8)
    mine[nearest[labels > 0]] = np.where(kept, 255, 0)[labels[labels > 0] - 1]
    height, width = alpha.shape
    window = cv2.resize(mine[nearest], (width, height), interpolation=cv2.INTER_LINEAR)
    window = cv2.threshold(window, 127, 255, cv2.THRESH_BINARY, dst=window)[1]
    return np.asarray(cv2.bitwise_and(alpha, window, dst=window), np.uint8)


def _report(
    found: _Components, reasons: list[PieceReason], photo_hw: tuple[int, ...]
) -> tuple[Piece, ...]:
    """The largest pieces in pixels of the photo."""
    total = found.areas.sum()
    rows, columns = (side / small for side, small in zip(photo_hw, found.size_hw, strict=True))
    return tuple(
        Piece(
            box=_enclosing_box(
                *(found.tops[place] * rows, found.lefts[place] * columns),
                *(found.heights[place] * rows, found.widths[place] * columns),
            ),
            share=float(found.areas[place] / total),
            kept=reasons[place] in KEPT_REASONS,
            reason=reasons[place],
        )
        for place in np.argsort(-found.areas, kind="stable")[:MAX_REPORTED]
    )


def _scale_box(face: Box, photo_hw: tuple[int, ...], size_hw: Size) -> Box:
    rows, columns = (small / side for side, small in zip(photo_hw, size_hw, strict=True))
    return _enclosing_box(
        face.top * rows, face.left * columns, face.height * rows, face.width * columns
    )


def _enclosing_box(top: float, left: float, height: float, width: float) -> Box:
    """The whole pixels that such a box touches."""
    first = int(np.floor(round(top, 6))), int(np.floor(round(left, 6)))
    last = int(np.ceil(round(top + height, 6))), int(np.ceil(round(left + width, 6)))
    return Box(*first, max(1, last[0] - first[0]), max(1, last[1] - first[1]))
