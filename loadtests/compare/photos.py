"""Photos to send: people in images of scikit-image, cropped and scaled to 1280x720."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage import data

from loadtests.scenario.photos import HD, encode_jpeg, resize_photo

WIDTH, HEIGHT = HD
JPEG_QUALITY = 90


class Photo(NamedTuple):
    """A photo with its name in the report."""

    name: str
    jpeg: bytes


@cache
def photos() -> tuple[Photo, ...]:
    """Returns two people, each from far and, mirrored, from near.

    The model is certain about these crops, so that masks depend little on the resize of a server.
    """
    astronaut = np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    camera = np.dstack([np.asarray(data.camera(), np.uint8)] * 3)  # type: ignore[no-untyped-call]
    return (
        _photo("astronaut", _crop(astronaut, top=0, left=30, width=460)),
        _photo("astronaut, near", _crop(astronaut, top=20, left=60, width=360)[:, ::-1]),
        _photo("camera", _crop(camera, top=20, left=0, width=460)),
        _photo("camera, near", _crop(camera, top=0, left=30, width=360)[:, ::-1]),
    )


def _crop(rgb: NDArray[np.uint8], *, top: int, left: int, width: int) -> NDArray[np.uint8]:
    """Returns a crop with the aspect ratio of the photos."""
    height = width * HEIGHT // WIDTH
    return rgb[top : top + height, left : left + width]


def _photo(name: str, rgb: NDArray[np.uint8]) -> Photo:
    return Photo(name, encode_jpeg(resize_photo(rgb, HD), JPEG_QUALITY))
