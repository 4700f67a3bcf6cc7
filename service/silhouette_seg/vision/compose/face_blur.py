"""Makes faces in a photo unrecognisable."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.blur import gaussian
from silhouette_seg.vision.mask.quality import Box

REGION_FACES = 1.7
"""Height and width of the blurred ellipse, as multiples of those of the face's box.

The ellipse contains the corners of the box, and so the forehead, the chin and the ears.
"""
SIGMA_FACES = 0.25
"""Sigma of the Gaussian blur, as a multiple of the longer side of the face's box.

Eyes and mouth are about this far apart, so none of them remains.
"""
MIN_SIGMA = 2.0
"""Smallest sigma in pixels, for faces of a few pixels."""


def blur_faces(rgb: NDArray[np.uint8], faces: Iterable[Box]) -> None:
    """Blurs faces in a photo, uint8 [H,W,3], in place; all other pixels stay as they are.

    `faces` are the boxes of the faces in pixels of the photo. Each is blurred in an ellipse of
    `REGION_FACES` times its size, with a strength in proportion to its size.
    """
    for face in faces:
        _blur_face(rgb, face)


def _blur_face(rgb: NDArray[np.uint8], face: Box) -> None:
    sigma = max(MIN_SIGMA, SIGMA_FACES * max(face.height, face.width))
    reach = round(3 * sigma)
    rows = _around(face.top, face.height, reach, rgb.shape[0])
    columns = _around(face.left, face.width, reach, rgb.shape[1])
    part = rgb[rows, columns]
    middle_y = face.top + face.height / 2 - rows.start
    middle_x = face.left + face.width / 2 - columns.start
    region = np.zeros(part.shape[:2], np.uint8)
    axes = REGION_FACES * face.width, REGION_FACES * face.height
    cv2.ellipse(region, ((middle_x, middle_y), axes, 0), 255, thickness=cv2.FILLED)
    cv2.copyTo(gaussian(np.ascontiguousarray(part), sigma), region, part)


def _around(start: int, length: int, reach: int, end: int) -> slice:
    """Returns the pixels of the ellipse in one direction, and `reach` more, clipped to 0..`end`."""
    margin = round(length * (REGION_FACES - 1) / 2) + reach
    return slice(max(0, start - margin), min(end, start + length + margin))
