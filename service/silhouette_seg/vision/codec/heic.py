"""Decodes HEIC files with libheif and libde265, which pi-heif contains."""

from functools import cache
from importlib import import_module
from types import ModuleType

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.errors import NotInstalled, UndecodableImage
from silhouette_seg.runtime.extras import missing_module
from silhouette_seg.vision.codec.header import ImageHeader
from silhouette_seg.vision.codec.stored import StoredPixels, as_u8

_CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4, "RGBa": 4}
"""Mode of pi-heif -> number of channels; other modes are grey of 10 or 12 bits."""
_MAX_LEVELS = {"I;10": 1_023, "I;12": 4_095}


def decode_heic(data: bytes | memoryview, header: ImageHeader) -> StoredPixels:
    """Decodes the primary image of a HEIC file on one thread.

    Its crop, rotation and mirrors are applied. 10 and 12 bits become 8, and premultiplied alpha
    becomes straight. Raises UndecodableImage if it does not decode to the size in its header, and
    NotInstalled without pi-heif.
    """
    try:
        file = _pi_heif().open_heif(
            bytes(data), convert_hdr_to_8bit=True, remove_stride=False, hdr_to_16bit=False
        )
        image = file[file.primary_index]
        # The rows lie in memory of `image`, so they are copied while it lives.
        rows = np.frombuffer(image.data, np.uint8).reshape(-1, image.stride)
        pixels = _take_pixels(rows, image.size[0], image.mode)
    except (ValueError, EOFError, SyntaxError, RuntimeError, OSError, IndexError) as error:
        raise UndecodableImage("The image cannot be decoded.") from error
    expected = header.upright_hw if header.decodes_upright else header.shown_hw
    if pixels.shape[:2] != expected:
        raise UndecodableImage("The image does not decode completely.")
    return _split_alpha(pixels, is_premultiplied=image.mode == "RGBa")


@cache
def _pi_heif() -> ModuleType:
    """Returns the module `pi_heif`, set to one thread and to the primary image alone.

    The service runs a thread for each image, so further ones would only compete with them.
    """
    try:
        pi_heif = import_module("pi_heif")
    except ImportError as error:
        raise NotInstalled(missing_module("pi_heif", "HEIC photos", "serve")) from error
    options = pi_heif.options
    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    return pi_heif


def _take_pixels(rows: NDArray[np.uint8], width: int, mode: str) -> NDArray[np.uint8]:
    """Copies the pixels out of rows of bytes, which may be padded, as uint8 [h,w,c]."""
    if mode in _MAX_LEVELS:
        grey = rows.view(np.uint16)[:, :width]
        return as_u8(cv2.convertScaleAbs(grey, alpha=255 / _MAX_LEVELS[mode]))[..., None]
    channels = _CHANNELS[mode]
    return rows[:, : width * channels].reshape(len(rows), width, channels).copy()


def _split_alpha(pixels: NDArray[np.uint8], *, is_premultiplied: bool) -> StoredPixels:
    match pixels.shape[2]:
        case 1:
            return StoredPixels(as_u8(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)))
        case 3:
            return StoredPixels(pixels)
    alpha = as_u8(cv2.extractChannel(pixels, 3))
    rgb = as_u8(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB))
    if is_premultiplied:
        rgb = as_u8(cv2.divide(rgb, cv2.merge([alpha] * 3), scale=255))
    return StoredPixels(rgb, alpha)
