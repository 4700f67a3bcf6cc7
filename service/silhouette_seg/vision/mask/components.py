"""Finds the 8-connected components of a mask at a reduced size, and measures them."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Size, resize
from silhouette_seg.vision.mask.quality import Box, person_pixels

MAX_SIDE = 384
"""Longer side, in pixels, of the reduced mask in which components are found.

Gaps narrower than one of its pixels may close.
"""


@dataclass(frozen=True, slots=True)
class Components:
    """The K connected components of a reduced mask.

    The arrays have one value for each component, in the order of labels 1 to K. Areas, boxes and
    centres are in pixels of the reduced mask.
    """

    labels: NDArray[np.int32]
    """Label of the component at each pixel [h,w]; 0 outside of all components."""
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
        """(height, width) of the reduced mask in pixels."""
        return self.labels.shape[0], self.labels.shape[1]


def find_components(alpha: NDArray[np.uint8]) -> Components:
    """Returns the components of a mask, uint8 [H,W], reduced to at most `MAX_SIDE`."""
    height, width = alpha.shape
    scale = min(1.0, MAX_SIDE / max(height, width))
    small = resize(alpha, (max(1, round(height * scale)), max(1, round(width * scale))))
    _, labels, stats, centres = cv2.connectedComponentsWithStats(
        person_pixels(small), connectivity=8, ltype=cv2.CV_32S
    )
    columns = np.asarray(stats[1:], np.int64).T
    return Components(
        labels=np.asarray(labels, np.int32),
        areas=columns[cv2.CC_STAT_AREA],
        tops=columns[cv2.CC_STAT_TOP],
        lefts=columns[cv2.CC_STAT_LEFT],
        heights=columns[cv2.CC_STAT_HEIGHT],
        widths=columns[cv2.CC_STAT_WIDTH],
        centres=np.asarray(centres[1:, ::-1], np.float64),
    )


def scale_box(box: Box, photo_hw: tuple[int, ...], size_hw: Size) -> Box:
    """Returns a box in pixels of the reduced mask, which encloses a box in pixels of the photo.

    `photo_hw` and `size_hw` are the (height, width) of photo and reduced mask.
    """
    rows, columns = (small / side for side, small in zip(photo_hw, size_hw, strict=True))
    return enclosing_box(box.top * rows, box.left * columns, box.height * rows, box.width * columns)


def enclosing_box(top: float, left: float, height: float, width: float) -> Box:
    """Returns the smallest box of whole pixels that contains a box of fractional pixels.

    Its sides are at least one pixel.
    """
    first = int(np.floor(round(top, 6))), int(np.floor(round(left, 6)))
    last = int(np.ceil(round(top + height, 6))), int(np.ceil(round(left + width, 6)))
    return Box(*first, max(1, last[0] - first[0]), max(1, last[1] - first[1]))


def covered_shares(components: Components, box: Box) -> NDArray[np.float64]:
    """Returns the share of a box that each component covers, float64 [K], 0..1.

    The box is in pixels of the reduced mask. Only its part inside the mask counts.
    """
    rows = slice(max(0, box.top), max(0, box.top + box.height))
    columns = slice(max(0, box.left), max(0, box.left + box.width))
    inside = components.labels[rows, columns].ravel()
    return np.bincount(inside, minlength=len(components) + 1)[1:] / max(1, inside.size)


def gaps_to(components: Components, index: int) -> NDArray[np.float32]:
    """Returns the distance, float32 [K] in pixels, from each component to the one at `index`."""
    others = (components.labels != index + 1).astype(np.uint8)
    distances = cv2.distanceTransform(others, cv2.DIST_L2, 5)
    gaps = np.full(len(components) + 1, np.inf, np.float32)
    np.minimum.at(gaps, components.labels.ravel(), distances.ravel())
    return gaps[1:]


def nearest_component(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Returns the index, from 0, of the component nearest to each pixel; int64 [h,w].

    `labels` [h,w] are those of `Components`, with at least one component.
    """
    empty = (labels == 0).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    # OpenCV labels the same components again, in an order of its own.
    index = np.zeros(int(nearest.max()) + 1, np.int64)
    index[nearest[labels > 0]] = labels[labels > 0] - 1
    return np.asarray(index[nearest])
