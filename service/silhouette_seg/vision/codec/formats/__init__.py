"""Reads the headers of image files without decoding pixels, one module per file format.

The bytes are untrusted. `struct` checks the bounds of every read, and a loop over markers, chunks,
boxes or blocks ends after MAX_SEGMENTS steps.
"""

import struct
from collections.abc import Callable

from silhouette_seg.errors import UndecodableImage, UnsupportedImageType
from silhouette_seg.vision.codec.formats import bmp, gif, heif, jpeg, png, tiff, webp
from silhouette_seg.vision.codec.header import ImageHeader

ALLOWED_TYPES = "Allowed types are JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP and GIF."


def read_header(data: bytes | memoryview) -> ImageHeader:
    """Reads size, orientation, frame count and colour tag of an image file without decoding pixels.

    Raises UnsupportedImageType unless the bytes begin as one of the formats, in a coding that can
    be decoded. Raises UndecodableImage if the header is truncated or malformed, or if a side is 0.
    """
    view = memoryview(data)
    parse = _find_parser(view)
    try:
        header = parse(view)
    except (struct.error, IndexError) as error:
        raise UndecodableImage("The header of the image is truncated.") from error
    if header.width == 0 or header.height == 0:
        raise UndecodableImage("The image has no pixels.")
    return header


def _find_parser(view: memoryview) -> Callable[[memoryview], ImageHeader]:
    """Returns the function that reads the header of a file, by its first bytes."""
    start = bytes(view[:12])
    if start[:3] == jpeg.SIGNATURE:
        return jpeg.parse_jpeg
    if start[:8] == png.SIGNATURE:
        return png.parse_png
    if start[:4] == b"RIFF" and start[8:] == b"WEBP":
        return webp.parse_webp
    if start[4:8] == b"ftyp" and heif.is_heif(view):
        return heif.parse_heif
    if start[:4] in tiff.SIGNATURES:
        return tiff.parse_tiff
    if start[:6] in gif.SIGNATURES:
        return gif.parse_gif
    if start[:2] == bmp.SIGNATURE:
        return bmp.parse_bmp
    raise UnsupportedImageType(ALLOWED_TYPES)
