"""Photos to send: an image of scikit-image, scaled to the sizes of cameras."""

from functools import cache
from itertools import cycle
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

JPEG_QUALITY = 85
SHIFT_STEPS = 8


class ImageSize(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


VGA = ImageSize(640, 480)
HD = ImageSize(1280, 720)
TWELVE_MEGAPIXELS = ImageSize(4000, 3000)


@cache
def photo_jpeg(size: ImageSize) -> bytes:
    """Returns a JPEG of a person. The aspect ratio of the original is not kept."""
    return encode_jpeg(resize_photo(_astronaut(), size), JPEG_QUALITY)


@cache
def camera_frames() -> tuple[bytes, ...]:
    """Returns JPEGs of 640x480 for a loop: a person moves a little to the side and back."""
    frame = resize_photo(_astronaut(), VGA)
    shifts = (*range(SHIFT_STEPS), *range(SHIFT_STEPS, 0, -1))
    return tuple(encode_jpeg(np.roll(frame, 2 * shift, axis=1), JPEG_QUALITY) for shift in shifts)


def cycle_camera_frames() -> "cycle[bytes]":
    """Returns an endless iterator over the camera frames."""
    return cycle(camera_frames())


def resize_photo(rgb: NDArray[np.uint8], size: ImageSize) -> NDArray[np.uint8]:
    """Resizes uint8 RGB [h,w,3] to uint8 [size.height,size.width,3]."""
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def encode_jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """Encodes uint8 RGB [h,w,3] as JPEG of a quality from 0 to 100."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return file.tobytes()


def _astronaut() -> NDArray[np.uint8]:
    return np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
