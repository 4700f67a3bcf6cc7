"""Decodes image files to upright sRGB pixels. All image decoding of the project is here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import simplejpeg
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.errors import UndecodableImage
from silhouette_seg.vision.codec.colour import SRGB, ColourNote, to_srgb
from silhouette_seg.vision.codec.colour_tag import UNTAGGED, ColourTag
from silhouette_seg.vision.codec.formats import read_header
from silhouette_seg.vision.codec.formats.jpeg import count_scans
from silhouette_seg.vision.codec.header import (
    ImageFormat,
    ImageHeader,
    ImageLimits,
    InputFormat,
    check_limits,
)
from silhouette_seg.vision.codec.heic import decode_heic
from silhouette_seg.vision.codec.jpeg_end import (
    END_MARKER,
    NO_END_MARKER,
    describe_truncation,
    has_all_scans,
)
from silhouette_seg.vision.codec.memory import decode_with_memory
from silhouette_seg.vision.codec.pillow import decode_pillow
from silhouette_seg.vision.codec.png_data import check_png_data
from silhouette_seg.vision.codec.stored import StoredPixels, as_u8
from silhouette_seg.vision.geometry import Size, resize

__all__ = [
    "ColourNote",
    "Frame",
    "ImageFormat",
    "ImageHeader",
    "ImageLimits",
    "InputFormat",
    "check_limits",
    "decode",
    "frame_of",
    "read_header",
]

MAX_SCANS = 50
"""Maximum number of scans in the first picture of a JPEG.

Encoders write about ten. Each scan costs a pass over all coefficients, and a hostile file can hold
a hundred thousand of them.
"""

MAX_PADDING_SHARE = 0.001
"""Largest shift of a pixel, relative to the side, when a JPEG is decoded at a reduced size.

A side that is no multiple of the reduction is padded and therefore stretched a little.
"""

OPAQUE = 255

_RGB_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED_FLAGS = {
    1: _RGB_FLAGS,
    2: _RGB_FLAGS | cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: _RGB_FLAGS | cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: _RGB_FLAGS | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
"""Divisor of the size -> flags of cv2.imdecode that decode a JPEG at that size, to RGB.

The flags named after grey set the size alone; those named after colour also set BGR.
"""


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded image with the size of its file and a note on its colours."""

    rgb: NDArray[np.uint8]
    """Upright RGB pixels, uint8 [h,w,3]."""
    photo_hw: Size
    """Upright (height, width) of the image in its file; `rgb` may be decoded at a smaller size."""
    colour: ColourNote = SRGB
    """Note on the conversion of the colours to sRGB."""
    opacity: NDArray[np.uint8] | None = None
    """Opacity of the file's pixels, uint8 [h,w] like `rgb`, 255 = opaque; None if all are opaque.

    `rgb` shows the image on white.
    """
    warning: str | None = None
    """A sentence on a fault of the file that costs no pixel; None without one."""

    def resized(self, size_hw: Size) -> "Frame":
        """Returns the image with pixels of (height, width) `size_hw`, which is its size as well."""
        opacity = None if self.opacity is None else resize(self.opacity, size_hw)
        return replace(self, rgb=resize(self.rgb, size_hw), photo_hw=size_hw, opacity=opacity)


def decode(
    data: bytes | memoryview,
    header: ImageHeader,
    *,
    min_size: Size | None = None,
    convert_colours: bool = True,
) -> Frame:
    """Decodes an image file to upright 8-bit RGB pixels.

    `header` is the result of `read_header` for `data`; check its limits first. Grey, palette,
    16-bit and CMYK images become 8-bit RGB. With `convert_colours` the colours are converted to
    sRGB by the file's profile. Transparency is flattened on white, and `opacity` keeps it. With
    `min_size` a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size. Both upright sides then stay at
    least as long as `min_size` (height, width). Raises UndecodableImage for an image that does not
    decode completely, and OutOfMemory or MemoryError if there is not enough memory for it.
    """
    is_jpeg = header.format is InputFormat.JPEG
    reduction = _jpeg_reduction(header, min_size) if is_jpeg else 1
    stored = decode_with_memory(
        partial(_decode_stored, data, header, reduction), header.pixels // reduction**2
    )
    return frame_of(
        stored, header.upright_hw, header.colour, header.turn, convert_colours=convert_colours
    )


def frame_of(
    stored: StoredPixels,
    photo_hw: Size,
    colour: ColourTag = UNTAGGED,
    turn: int = 1,
    *,
    convert_colours: bool = True,
) -> Frame:
    """Returns stored pixels as an image: in sRGB, flattened on white, and turned upright.

    `photo_hw` is the upright (height, width), `colour` the colour tag of the pixels, and `turn`
    their orientation, 1..8. Only with `convert_colours` the tag has an effect. RGB pixels of
    `stored` may be overwritten.
    """
    rgb, note = to_srgb(stored.pixels, colour, convert=convert_colours, in_place=True)
    opacity = None
    if stored.alpha is not None and cv2.minMaxLoc(stored.alpha)[0] < OPAQUE:
        rgb = flatten(rgb, stored.alpha)
        opacity = _upright(stored.alpha, turn)
    return Frame(_upright(rgb, turn), photo_hw, note, opacity, stored.warning)


def _decode_stored(data: bytes | memoryview, header: ImageHeader, reduction: int) -> StoredPixels:
    """Decodes an image file with the decoder of its format, before the orientation is applied.

    The sides of a JPEG are divided by `reduction`.
    """
    stored_hw = (header.height, header.width)
    match header.format:
        case InputFormat.JPEG:
            return _decode_jpeg(data, header, reduction)
        case InputFormat.HEIC:
            return decode_heic(data, header)
        case InputFormat.AVIF | InputFormat.TIFF | InputFormat.GIF:
            return decode_pillow(data, header)
        case InputFormat.BMP if not header.has_alpha:
            # cv2 gives BMP files without alpha an alpha of 0 in some cases.
            return StoredPixels(as_u8(_decode_cv2(data, _RGB_FLAGS, stored_hw)))
        case _:
            if header.format is InputFormat.PNG:
                check_png_data(data)
            return _split_alpha(_decode_cv2(data, cv2.IMREAD_UNCHANGED, stored_hw), header)


def _jpeg_reduction(header: ImageHeader, min_size: Size | None) -> int:
    """Returns the divisor, 1, 2, 4 or 8, of the size at which a JPEG is decoded.

    It is the largest that keeps both upright sides at least as long as `min_size`. It also moves no
    pixel by more than MAX_PADDING_SHARE. A JPEG reduced by n has ceil(side / n) pixels, which cover
    n * ceil(side / n) pixels of the photo. Sides that n does not divide are therefore stretched a
    little. Without a `min_size` it is 1.
    """
    if min_size is None:
        return 1
    pairs = list(zip(header.upright_hw, min_size, strict=True))
    for factor in (8, 4, 2):
        if all(
            -(-side // factor) >= min_side and -side % factor <= MAX_PADDING_SHARE * side
            for side, min_side in pairs
        ):
            return factor
    return 1


def _decode_jpeg(data: bytes | memoryview, header: ImageHeader, reduction: int) -> StoredPixels:
    scans = count_scans(data)
    if scans > MAX_SCANS:
        raise UndecodableImage("The JPEG has too many scans.", limit=MAX_SCANS, actual=scans)
    reduced_hw = (-(-header.height // reduction), -(-header.width // reduction))
    try:
        return StoredPixels(_decode_strictly(data, header, reduced_hw))
    except ValueError as error:
        # Strict decoding also rejects files that every viewer opens, such as those with stray
        # bytes between segments or odd subsampling. cv2 accepts them. Missing pixels still raise.
        if "premature end" in str(error).lower():
            return _decode_without_end(data, header, reduced_hw)
        flags = _REDUCED_FLAGS[reduction]
        return StoredPixels(as_u8(_decode_cv2(data, flags, reduced_hw)))


def _decode_strictly(
    data: bytes | memoryview, header: ImageHeader, reduced_hw: Size
) -> NDArray[np.uint8]:
    """Decodes a JPEG to RGB uint8 [h,w,3] or CMYK uint8 [h,w,4], at the size `reduced_hw`.

    Raises ValueError for the slightest error in the file, and UndecodableImage for two sizes.
    """
    height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    if (height, width) != (header.height, header.width):
        raise UndecodableImage("The JPEG declares two sizes.")
    # Every writer of CMYK follows Adobe and stores the inks inverted.
    target = "CMYK" if space in ("CMYK", "YCCK") else "RGB"
    return as_u8(
        simplejpeg.decode_jpeg(data, target, min_height=reduced_hw[0], min_width=reduced_hw[1])
    )


def _decode_without_end(
    data: bytes | memoryview, header: ImageHeader, reduced_hw: Size
) -> StoredPixels:
    """Decodes a JPEG that ends early but lacks no pixel. Raises UndecodableImage if it lacks one.

    libjpeg warns alike of a missing end marker and of missing pixels. With an end marker appended
    it only warns of the latter.
    """
    if not has_all_scans(data):
        raise UndecodableImage("The JPEG is truncated: its last scans are missing.")
    try:
        pixels = _decode_strictly(b"".join((data, END_MARKER)), header, reduced_hw)
    except ValueError as error:
        raise UndecodableImage(describe_truncation(data)) from error
    return StoredPixels(pixels, warning=NO_END_MARKER)


def _decode_cv2(
    data: bytes | memoryview, flags: int, size_hw: Size
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decodes an image file by cv2, in the orientation of the file.

    Returns uint8 or uint16 [h,w] or [h,w,c]; `flags` are those of cv2.imdecode. Raises
    UndecodableImage if the image does not decode, or not to `size_hw`, its (height, width).
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise UndecodableImage("The image cannot be decoded.") from error
    if pixels is None or pixels.shape[:2] != size_hw:
        raise UndecodableImage("The image does not decode completely.")
    return pixels  # type: ignore[return-value]  # the stubs do not narrow the element type


def _split_alpha(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], header: ImageHeader
) -> StoredPixels:
    """Converts decoded pixels to 8-bit RGB and, if the image has transparency, alpha.

    `pixels` is grey [h,w], BGR [h,w,3] or BGRA [h,w,4], uint8 or uint16.
    """
    alpha = None
    if pixels.ndim == 2 and header.transparent_grey is not None:
        # cv2 supports a transparent colour in every kind of PNG except grey.
        level = header.transparent_grey
        alpha = as_u8(cv2.bitwise_not(cv2.inRange(pixels, level, level)))
    if pixels.dtype == np.uint16:
        pixels = as_u8(cv2.convertScaleAbs(pixels, alpha=1 / 257))
    if pixels.ndim == 2:
        return StoredPixels(as_u8(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)), alpha)
    if pixels.shape[2] == 3:
        return StoredPixels(as_u8(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)))
    return StoredPixels(
        as_u8(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)), as_u8(cv2.extractChannel(pixels, 3))
    )


def flatten(rgb: MatLike, alpha: MatLike) -> NDArray[np.uint8]:
    """Shows an image, uint8 [h,w,3], on white by its alpha, uint8 [h,w]."""
    alpha3 = cv2.merge([alpha, alpha, alpha])
    return as_u8(cv2.add(cv2.multiply(rgb, alpha3, scale=1 / 255), cv2.bitwise_not(alpha3)))


_UPRIGHT_TRANSFORMS: dict[int, Callable[[MatLike], MatLike]] = {
    2: lambda stored: cv2.flip(stored, 1),
    3: lambda stored: cv2.rotate(stored, cv2.ROTATE_180),
    4: lambda stored: cv2.flip(stored, 0),
    5: cv2.transpose,
    6: lambda stored: cv2.rotate(stored, cv2.ROTATE_90_CLOCKWISE),
    7: lambda stored: cv2.rotate(cv2.transpose(stored), cv2.ROTATE_180),
    8: lambda stored: cv2.rotate(stored, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""EXIF orientation -> function that turns the stored image upright; 1 needs none."""


def _upright(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    transform = _UPRIGHT_TRANSFORMS.get(orientation)
    return stored if transform is None else as_u8(transform(stored))
