"""Turns stored frames upright by their display matrix, and fits them into frames of one size."""

from dataclasses import dataclass
from fractions import Fraction
from struct import unpack
from typing import cast

import cv2
import numpy as np
from av.buffer import Buffer
from av.video.frame import VideoFrame
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Size, resize

DisplayMatrix = tuple[int, ...]
"""The nine numbers of libav's display matrix, which turns a stored frame upright, row by row."""


def display_matrix(frame: VideoFrame) -> DisplayMatrix | None:
    """Returns the display matrix of a frame, which turns its image upright; None without one."""
    found = cast("Buffer | None", frame.side_data.get("DISPLAYMATRIX"))
    return None if found is None else unpack("=9i", bytes(found))


def swaps_sides(matrix: DisplayMatrix | None) -> bool:
    """Returns whether a display matrix exchanges width and height, as a quarter turn does."""
    return matrix is not None and abs(matrix[1]) > abs(matrix[0])


def rotate_upright(stored: NDArray[np.uint8], matrix: DisplayMatrix | None) -> NDArray[np.uint8]:
    """Turns a stored image, uint8 [h,w] or [h,w,3], upright by its display matrix.

    Only the nearest of the eight rotations and mirrorings is applied. The matrix's numbers map (x,
    y) to x' = a x + c y and y' = b x + d y. Without a matrix the image itself is returned.
    """
    if matrix is None:
        return stored
    a, b, _, c, d = matrix[:5]
    across, down = (c, b) if swaps_sides(matrix) else (a, d)
    image: MatLike = cv2.transpose(stored) if swaps_sides(matrix) else stored
    if across < 0 or down < 0:
        image = cv2.flip(image, -1 if across < 0 and down < 0 else int(across < 0))
    return np.asarray(image, np.uint8)


@dataclass(frozen=True, slots=True)
class FrameShape:
    """Size of an upright frame, and the shape of its pixels."""

    size_hw: Size
    """(height, width) in pixels."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel divided by its height."""


def with_square_pixels(image: NDArray[np.uint8], pixel_aspect: Fraction) -> NDArray[np.uint8]:
    """Widens or heightens an image, uint8 [h,w] or [h,w,C], so that its pixels are square.

    `pixel_aspect` is the width of a pixel divided by its height; for 1 the image is unchanged.
    """
    height, width = image.shape[:2]
    if pixel_aspect >= 1:
        return resize(image, (height, round(width * pixel_aspect)))
    return resize(image, (round(height / pixel_aspect), width))


def upright_shape(frame: VideoFrame, stored_aspect: Fraction) -> FrameShape:
    """Returns the shape that a stored frame has after `rotate_upright`.

    `stored_aspect` is the width of a stored pixel divided by its height.
    """
    if swaps_sides(display_matrix(frame)):
        return FrameShape((frame.width, frame.height), 1 / stored_aspect)
    return FrameShape((frame.height, frame.width), stored_aspect)


def fit_into(image: NDArray[np.uint8], own: FrameShape, shape: FrameShape) -> NDArray[np.uint8]:
    """Scales an upright image, uint8 [h,w] or [h,w,3] of shape `own`, to fit into one of `shape`.

    The image is not stretched. It is centred, and the rest is 0: black in colours. An image of that
    shape is returned unchanged.
    """
    if own == shape:
        return image
    (own_height, own_width), (height, width) = own.size_hw, shape.size_hw
    stretch = own.pixel_aspect / shape.pixel_aspect
    scale = min(Fraction(height, own_height), width / (own_width * stretch))
    fitted_hw = max(1, round(own_height * scale)), max(1, round(own_width * stretch * scale))
    top, left = (height - fitted_hw[0]) // 2, (width - fitted_hw[1]) // 2
    canvas = np.zeros((height, width, *image.shape[2:]), np.uint8)
    canvas[top : top + fitted_hw[0], left : left + fitted_hw[1]] = resize(image, fitted_hw)
    return canvas
