"""What is sent: photos of people that come with scikit-image, as a camera of 1280x720 has them."""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

WIDTH, HEIGHT = 1280, 720
JPEG_QUALITY = 90


class Photo(NamedTuple):
    name: str
    jpeg: bytes


@cache
def photos() -> tuple[Photo, ...]:
    """Two people, from further away and, mirrored, from nearer: crops of which the model is sure,
    so that its mask says little of how a server resizes.
    """
    astronaut = np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    camera = np.dstack([np.asarray(data.camera(), np.uint8)] * 3)  # type: ignore[no-untyped-call]
    return (
        _photo("astronaut", _cropped(astronaut, top=0, left=30, width=460)),
        _photo("astronaut, near", _cropped(astronaut, top=20, left=60, width=360)[:, ::-1]),
        _photo("camera", _cropped(camera, top=20, left=0, width=460)),
        _photo("camera, near", _cropped(camera, top=0, left=30, width=360)[:, ::-1]),
    )


def _cropped(rgb: NDArray[np.uint8], *, top: int, left: int, width: int) -> NDArray[np.uint8]:
    """A part that is as wide for its height as the photos are."""
    height = width * HEIGHT // WIDTH
    return rgb[top : top + height, left : left + width]


def _photo(name: str, rgb: NDArray[np.uint8]) -> Photo:
    resized = cv2.resize(rgb, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    bgr = cv2.cvtColor(resized, cv2.COLOR_RGB2BGR)
    _, file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return Photo(name, file.tobytes())
