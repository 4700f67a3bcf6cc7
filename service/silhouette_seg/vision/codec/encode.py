"""Encodes arrays of pixels as PNG, JPEG, WebP or AVIF files."""

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import simplejpeg
from cv2.typing import MatLike
from numpy.typing import NDArray
from PIL import Image

from silhouette_seg.errors import NotAcceptable
from silhouette_seg.vision.codec.header import ImageFormat
from silhouette_seg.vision.codec.memory import encoding_error
from silhouette_seg.vision.codec.metadata import (
    NO_METADATA,
    PrintMetadata,
    add_metadata,
    exif_of,
)

try:
    from isal import isal_zlib
except ImportError:  # no wheel for this platform
    isal_zlib = None  # type: ignore[assignment]

LOSSY_QUALITY = 90
"""Quality of JPEG and of colours in WebP and AVIF, 0..100."""

MAX_SIDES = {ImageFormat.JPEG: 65_500, ImageFormat.WEBP: 16_383, ImageFormat.AVIF: 32_768}
"""Longest side, in pixels, of a file in each format.

JPEG and WebP hold no longer one. libavif writes AVIF of 65,536 pixels, but does not read them.
"""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPE = {1: 0, 3: 2, 4: 6}
_PNG_FILTER_UP = 2
_WEBP_MASK_OPTIONS: dict[str, Any] = {"lossless": 1, "method": 0, "quality": 50}
"""Options of libwebp for masks: lossless with method 0, which takes 0.3 s for 12 MP.

Method 4, the default of libwebp, takes 1.3 s and method 1 takes 1.0 s. Files have 1.3 to 3 times
the bytes of method 4.
"""
_WEBP_COLOUR_OPTIONS: dict[str, Any] = {"method": 2, "quality": LOSSY_QUALITY}
"""Options of libwebp for colour images: lossy with method 2.

It takes half to two thirds of the time of method 4 for 1 to 4 % more bytes. Method 0 halves the
time again, but the alpha of a cut-out then makes the file 1.5 times as large.
"""
_AVIF_OPTIONS: dict[str, Any] = {"codec": "aom", "speed": 10, "max_threads": 1}
"""Options of libavif: the fastest speed of libaom, on the thread of the caller.

A composite of 12 MP takes twice the processor time of WebP. Speed 8 takes three times that of 10,
for 5 % fewer bytes.
"""
_AVIF_MASK_OPTIONS = _AVIF_OPTIONS | {"quality": 100, "subsampling": "4:0:0"}
_AVIF_COLOUR_OPTIONS = _AVIF_OPTIONS | {
    "quality": LOSSY_QUALITY,
    # Without this option of libaom the quality applies to alpha too, which is then wrong by 7.
    "advanced": {"alpha:lossless": "1"},
}
_STRIP_BYTES = 2**20
"""Bytes of pixels that the PNG encoder compresses at a time.

They are its memory besides the image and the result.
"""


def encode(
    image: NDArray[np.uint8], format: ImageFormat, metadata: PrintMetadata = NO_METADATA
) -> bytes:
    """Encodes an image, uint8 grey [H,W], RGB [H,W,3] or RGBA [H,W,4], as the bytes of a file.

    PNG, grey in WebP and AVIF, and the alpha of both are lossless. Raises NotAcceptable for JPEG of
    RGBA and for a side longer than the format allows. Raises `encoding_error` if the codec fails.
    The file holds `metadata` as EXIF, and its resolution also as JFIF or pHYs.
    """
    limit = MAX_SIDES.get(format)
    if limit is not None and max(image.shape[:2]) > limit:
        raise NotAcceptable(
            f"A side is too long for {format.value}.", limit=limit, actual=max(image.shape)
        )
    is_mask = image.ndim == 2
    match format:
        case ImageFormat.PNG:
            png = _png(image) if isal_zlib is not None else _png_cv2(image)
            return add_metadata(png, format, metadata)
        case ImageFormat.JPEG:
            return add_metadata(_jpeg(image), format, metadata)
        case ImageFormat.WEBP:
            # A lossy mask takes a third of the time, but levels, even 0 and 255, are wrong by 6.
            options = _WEBP_MASK_OPTIONS if is_mask else _WEBP_COLOUR_OPTIONS
        case ImageFormat.AVIF:
            options = _AVIF_MASK_OPTIONS if is_mask else _AVIF_COLOUR_OPTIONS
    exif = exif_of(metadata)
    return _pillow(image, format, options | {"exif": exif} if exif else options)


def _png(image: NDArray[np.uint8]) -> bytes:
    """Encodes an image, uint8 [H,W], [H,W,3] or [H,W,4], as the bytes of a PNG file.

    The rows have the filter `up` and form one IDAT chunk. This is 6 to 20 times faster than cv2.
    """
    channels = 1 if image.ndim == 2 else image.shape[2]
    height, width = image.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOUR_TYPE[channels], 0, 0, 0)
    return b"".join(
        (
            _PNG_SIGNATURE,
            *_chunk(b"IHDR", header),
            *_chunk(b"IDAT", _compress_rows(image)),
            *_chunk(b"IEND", b""),
        )
    )


def _compress_rows(image: NDArray[np.uint8]) -> bytes:
    """Returns the content of a PNG's IDAT chunk for an image, uint8 [H,W] or [H,W,C].

    Rows are filtered and compressed strip by strip, without a second copy of the image.
    """
    rows = np.ascontiguousarray(image).reshape(image.shape[0], -1)
    count = max(1, _STRIP_BYTES // rows.shape[1])
    deflate = isal_zlib.compressobj(1)
    strips = [
        deflate.compress(_filter_up(rows, start, start + count))
        for start in range(0, len(rows), count)
    ]
    return b"".join((*strips, deflate.flush()))


def _filter_up(rows: NDArray[np.uint8], start: int, stop: int) -> NDArray[np.uint8]:
    """Applies PNG's filter `up` to the rows `start` to `stop` of an image.

    `rows` is uint8 [H,n], where n is the bytes of a row. Returns uint8 [stop-start,n+1]: the number
    of the filter, then the row minus the row above.
    """
    strip = rows[start:stop]
    filtered = np.empty((len(strip), rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _PNG_FILTER_UP
    np.subtract(strip[0], rows[start - 1] if start else 0, out=filtered[0, 1:])
    np.subtract(strip[1:], strip[:-1], out=filtered[1:, 1:])
    return filtered


def _chunk(kind: bytes, content: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    crc = isal_zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)), kind, content, struct.pack(">I", crc)


def _png_cv2(image: NDArray[np.uint8]) -> bytes:
    # Any PNG parameter, even the level, switches cv2 to a writer three times slower.
    return _encode_cv2(".png", image, [])


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    if image.ndim == 3 and image.shape[2] == 4:
        raise NotAcceptable("JPEG has no transparency; png, webp and avif have.")
    grey = image.ndim == 2
    pixels = np.ascontiguousarray(image[..., None] if grey else image)
    try:
        encoded = simplejpeg.encode_jpeg(
            pixels, LOSSY_QUALITY, "GRAY" if grey else "RGB", "Gray" if grey else "420"
        )
    except ValueError as error:
        raise encoding_error() from error
    return bytes(encoded)


def _pillow(image: NDArray[np.uint8], format: ImageFormat, options: Mapping[str, Any]) -> bytes:
    """Encodes an image, uint8 [H,W], [H,W,3] or [H,W,4], as the bytes of a WebP or AVIF file.

    cv2 has no option for the method of libwebp, nor for the alpha of libavif. Raises
    `encoding_error` if Pillow fails.
    """
    file = io.BytesIO()
    try:
        Image.fromarray(image).save(file, format.value, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise encoding_error() from error
    return file.getvalue()


def _encode_cv2(extension: str, image: MatLike, parameters: list[int]) -> bytes:
    if image.ndim == 3:
        swap = cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        image = cv2.cvtColor(image, swap)
    try:
        written, encoded = cv2.imencode(extension, image, parameters)
    except cv2.error as error:
        raise encoding_error() from error
    if not written:
        raise encoding_error()
    return encoded.tobytes()
