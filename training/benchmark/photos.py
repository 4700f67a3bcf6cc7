"""The benchmark photo: skimage's astronaut at the sizes of cameras."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from silhouette_seg.vision.geometry import Size

SIZES: dict[str, Size] = {
    "640x480": (480, 640),
    "1280x720": (720, 1280),
    "1920x1080": (1080, 1920),
    "4000x3000": (3000, 4000),
}
JPEG_QUALITY = 85


@cache
def photo(size_hw: Size) -> NDArray[np.uint8]:
    """Returns the photo as RGB uint8 [*size_hw,3]; the aspect ratio is not kept."""
    size = (size_hw[1], size_hw[0])
    astronaut = np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    resized = np.asarray(cv2.resize(astronaut, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    resized.flags.writeable = False
    return resized


@cache
def encoded(size_hw: Size, extension: str = ".jpg") -> bytes:
    """Returns the photo as a file: JPEG of quality 85, PNG or lossy WebP."""
    quality = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, JPEG_QUALITY],
    }
    bgr = cv2.cvtColor(photo(size_hw), cv2.COLOR_RGB2BGR)
    _, file = cv2.imencode(extension, bgr, quality.get(extension, []))
    return file.tobytes()


def soft_mask(size_hw: Size) -> NDArray[np.uint8]:
    """Returns a mask of head and shoulders, uint8 [*size_hw], with a soft edge."""
    height, width = size_hw
    mask = np.zeros(size_hw, np.uint8)
    middle = width // 2
    cv2.ellipse(mask, (middle, height * 2 // 5), (width // 7, height // 5), 0, 0, 360, 255, -1)
    cv2.ellipse(mask, (middle, height), (width * 2 // 5, height * 2 // 5), 0, 0, 360, 255, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(1.0, width / 150)), np.uint8)
