"""Photos to send: a picture that comes with scikit-image, at the sizes of cameras."""

from functools import cache
from itertools import cycle
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

JPEG_QUALITY = 85
STEPS = 8


class Size(NamedTuple):
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


VGA = Size(640, 480)
HD = Size(1280, 720)
TWELVE_MEGAPIXELS = Size(4000, 3000)


@cache
def photo(size: Size) -> bytes:
    """A JPEG of a person."""
    return _jpeg(_picture(size))


@cache
def clip() -> tuple[bytes, ...]:
    """JPEGs of 640x480 to show in turn: a person who moves a little to the side and back."""
    picture = _picture(VGA)
    shifts = (*range(STEPS), *range(STEPS, 0, -1))
    return tuple(_jpeg(np.roll(picture, 2 * shift, axis=1)) for shift in shifts)


def camera() -> "cycle[bytes]":
    return cycle(clip())


def _picture(size: Size) -> NDArray[np.uint8]:
    """BGR uint8 [height,width,3]; the aspect ratio is not kept."""
    rgb = np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    resized = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(resized, cv2.COLOR_RGB2BGR), np.uint8)


def _jpeg(bgr: NDArray[np.uint8]) -> bytes:
    _, file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return file.tobytes()
