"""Bytes to upright sRGB pixels, and the only place that decodes images."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.errors import UndecodableImage
from silhouette_seg.vision.codec.colour import SRGB, ColourNote, to_srgb
from silhouette_seg.vision.codec.header import (
    ImageFormat,
    ImageHeader,
    ImageLimits,
    check_limits,
    count_scans,
    read_header,
)
from silhouette_seg.vision.geometry import Size

__all__ = [
    "ColourNote",
    "Frame",
    "ImageFormat",
    "ImageHeader",
    "ImageLimits",
    "check_limits",
    "decode",
    "read_header",
]

MAX_SCANS = 50
"""Scans in the first picture of a JPEG. Encoders write about ten; each costs a pass over all
coefficients, and a hostile file can hold a hundred thousand of them."""

MAX_STRETCH = 0.001
"""How far, as a share of a side, a reduced JPEG may be out of place because of its padding."""

_COLOUR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION

# Bytes from strangers should not fill the log with codec warnings.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)


@dataclass(frozen=True, slots=True)
class Frame:
    """`rgb` is uint8 [h,w,3], upright; smaller than `photo_hw` after a reduced decode."""

    rgb: NDArray[np.uint8]
    photo_hw: Size
    colour: ColourNote = SRGB
    """What was done to make the pixels sRGB."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """Pixels of 8 bits as the file has them, not upright."""

    pixels: NDArray[np.uint8]
    """RGB [h,w,3], or CMYK [h,w,4] where 255 is no ink."""
    alpha: NDArray[np.uint8] | None = None


def decode(
    data: bytes | memoryview,
    header: ImageHeader,
    *,
    at_least: Size | None = None,
    colours: bool = True,
) -> Frame:
    """Decodes the image that `header` was read from; check the limits first.

    Grey, palette, 16-bit and CMYK become 8-bit RGB, converted to sRGB by the profile that comes
    with them unless nobody will see the `colours`; transparency is flattened on white. With
    `at_least` a JPEG may come out at 1/2, 1/4 or 1/8 while both upright sides stay that long.
    Raises UndecodableImage for anything that does not decode whole.
    """
    if header.format is ImageFormat.JPEG:
        stored = _decode_jpeg(data, header, _reduction(header, at_least))
    else:
        stored = _split(_decode_any(data, cv2.IMREAD_UNCHANGED, header), header)
    rgb, note = to_srgb(stored.pixels, header.colour, wanted=colours, in_place=True)
    if stored.alpha is not None:
        rgb = _flatten(rgb, stored.alpha)
    return Frame(_upright(rgb, header.orientation), header.upright_hw, note)


def _reduction(header: ImageHeader, at_least: Size | None) -> int:
    """The largest of 8, 4, 2, 1 that keeps the sides long enough and the picture in place.

    A reduced JPEG has ceil(side / n) pixels that cover n * ceil(side / n) of the photo, so
    sides that n does not divide are stretched a little.
    """
    if at_least is None:
        return 1
    pairs = list(zip(header.upright_hw, at_least, strict=True))
    for factor in (8, 4, 2):
        if all(
            -(-side // factor) >= wanted and -side % factor <= MAX_STRETCH * side
            for side, wanted in pairs
        ):
            return factor
    return 1


def _decode_jpeg(data: bytes | memoryview, header: ImageHeader, reduction: int) -> _Stored:
    scans = count_scans(data)
    if scans > MAX_SCANS:
        raise UndecodableImage("The JPEG has too many scans.", limit=MAX_SCANS, actual=scans)
    wanted = (-(-header.height // reduction), -(-header.width // reduction))
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        if (height, width) != (header.height, header.width):
            raise UndecodableImage("The JPEG contradicts itself about its size.")
        # Every writer of CMYK does as Adobe did and stores the inks inverted.
        kept = "CMYK" if space in ("CMYK", "YCCK") else "RGB"
        pixels = simplejpeg.decode_jpeg(data, kept, min_height=wanted[0], min_width=wanted[1])
    except ValueError as error:
        # Strict decoding also refuses what every viewer opens, such as stray bytes between
        # segments or odd subsampling; cv2 takes those. Missing pixels stay refused.
        if "premature end" in str(error).lower():
            raise UndecodableImage("The JPEG is cut short.") from error
        pixels = _decode_any(data, _COLOUR, header)
    return _Stored(_u8(pixels))


def _decode_any(
    data: bytes | memoryview, flags: int, header: ImageHeader
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The stored pixels by cv2, not turned upright."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise UndecodableImage("The image does not decode.") from error
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise UndecodableImage("The image does not decode whole.")
    return pixels  # type: ignore[return-value]  # the stubs do not narrow the element type


def _split(pixels: NDArray[np.uint8] | NDArray[np.uint16], header: ImageHeader) -> _Stored:
    """Grey, BGR or BGRA of 8 or 16 bits to RGB of 8, and alpha where something is transparent."""
    clear = None
    if pixels.ndim == 2 and header.clear_grey is not None:
        # cv2 reads this kind of transparency from every PNG but a grey one.
        clear = _u8(cv2.bitwise_not(cv2.inRange(pixels, header.clear_grey, header.clear_grey)))
    if pixels.dtype == np.uint16:
        pixels = _u8(cv2.convertScaleAbs(pixels, alpha=1 / 257))
    if pixels.ndim == 2:
        return _Stored(_u8(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)), clear)
    if pixels.shape[2] == 3:
        return _Stored(_u8(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)))
    return _Stored(
        _u8(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)), _u8(cv2.extractChannel(pixels, 3))
    )


def _flatten(rgb: MatLike, alpha: MatLike) -> NDArray[np.uint8]:
    alpha3 = cv2.merge([alpha, alpha, alpha])
    return _u8(cv2.add(cv2.multiply(rgb, alpha3, scale=1 / 255), cv2.bitwise_not(alpha3)))


_TURNS: dict[int, Callable[[MatLike], MatLike]] = {
    2: lambda stored: cv2.flip(stored, 1),
    3: lambda stored: cv2.rotate(stored, cv2.ROTATE_180),
    4: lambda stored: cv2.flip(stored, 0),
    5: cv2.transpose,
    6: lambda stored: cv2.rotate(stored, cv2.ROTATE_90_CLOCKWISE),
    7: lambda stored: cv2.rotate(cv2.transpose(stored), cv2.ROTATE_180),
    8: lambda stored: cv2.rotate(stored, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""EXIF orientation -> what turns the stored picture upright."""


def _upright(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    turn = _TURNS.get(orientation)
    return stored if turn is None else _u8(turn(stored))


def _u8(pixels: MatLike) -> NDArray[np.uint8]:
    return np.asarray(pixels, np.uint8)
