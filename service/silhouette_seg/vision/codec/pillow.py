"""Decodes AVIF, TIFF and GIF files with Pillow, and converts its images."""

import io
import struct
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, GifImagePlugin, Image, ImageFile, TiffImagePlugin

from silhouette_seg.errors import UndecodableImage
from silhouette_seg.vision.codec.formats.gif import first_frame
from silhouette_seg.vision.codec.formats.tiff import first_page
from silhouette_seg.vision.codec.header import ImageHeader, InputFormat
from silhouette_seg.vision.codec.stored import StoredPixels, as_u8

_STRIP_ROWS = 64
"""Rows of pixels that are converted at a time. Pillow holds four bytes for each pixel beside."""


def decode_pillow(data: bytes | memoryview, header: ImageHeader) -> StoredPixels:
    """Decodes an AVIF or TIFF file, or the first frame of a GIF, as stored.

    The crop of an AVIF is applied; rotations and mirrors are not. 10 to 16 bits become 8. Raises
    UndecodableImage if it does not decode to the size in its header.
    """
    try:
        image = _OPENERS[header.format](data)
        if image.size != (header.width, header.height):
            raise UndecodableImage("The image declares two sizes.")
        image.load()
        return stored_pixels(_cropped(image, header))
    except _PILLOW_ERRORS as error:
        raise UndecodableImage("The image cannot be decoded.") from error


_OPENERS: dict[InputFormat, Callable[[bytes | memoryview], ImageFile.ImageFile]] = {
    InputFormat.AVIF: lambda data: AvifImagePlugin.AvifImageFile(io.BytesIO(data)),
    InputFormat.TIFF: lambda data: TiffImagePlugin.TiffImageFile(io.BytesIO(first_page(data))),
    InputFormat.GIF: lambda data: GifImagePlugin.GifImageFile(io.BytesIO(first_frame(data))),
}
_PILLOW_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, RuntimeError),
    struct.error,
)
"""Errors that Pillow raises for damaged files."""


def _cropped(image: Image.Image, header: ImageHeader) -> Image.Image:
    crop = header.crop
    if crop is None:
        return image
    return image.crop((crop.x, crop.y, crop.x + crop.width, crop.y + crop.height))


def stored_pixels(image: Image.Image) -> StoredPixels:
    """Converts an image to RGB or CMYK, and to alpha if it has transparency.

    16 bits become 8. Raises ValueError for a mode that Pillow does not convert, such as LAB.
    """
    if image.mode.startswith("I;16"):
        grey = cv2.convertScaleAbs(np.asarray(image), alpha=1 / 257)
        return StoredPixels(as_u8(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)))
    if image.mode == "CMYK":
        inks, _ = _convert(image, "CMYK")
        return StoredPixels(as_u8(cv2.bitwise_not(inks, dst=inks)))
    if image.has_transparency_data:
        return StoredPixels(*_convert(image, "RGBA"))
    return StoredPixels(_convert(image, "RGB")[0])


def _convert(image: Image.Image, mode: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Converts an image, strip by strip, to RGB or CMYK uint8 [h,w,c], and to alpha for RGBA."""
    width, height = image.size
    colours = np.empty((height, width, 4 if mode == "CMYK" else 3), np.uint8)
    alpha = np.empty((height, width), np.uint8) if mode == "RGBA" else None
    for top in range(0, height, _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS)
        strip = image.crop((0, top, width, min(top + _STRIP_ROWS, height)))
        pixels = np.asarray(strip.convert(mode))
        colours[rows] = pixels[..., : colours.shape[2]]
        if alpha is not None:
            alpha[rows] = pixels[..., 3]
    return colours, alpha
