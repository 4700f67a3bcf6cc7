"""Reads the headers of JPEG, PNG and WebP files without decoding pixels, and checks image limits.

The bytes are untrusted. `struct` checks the bounds of every read, and a loop over markers or chunks
ends after MAX_SEGMENTS steps.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from silhouette_seg.errors import (
    AspectTooExtreme,
    SideTooLong,
    TooManyFrames,
    TooManyPixels,
    UndecodableImage,
    UnsupportedImageType,
)
from silhouette_seg.vision.codec.colour_tag import (
    PNG_CHUNKS,
    UNTAGGED,
    ColourTag,
    jpeg_colour_tag,
    png_colour_tag,
    webp_colour_tag,
)
from silhouette_seg.vision.geometry import Size

MAX_SEGMENTS = 10_000
"""Maximum number of chunks (PNG, WebP) or markers (JPEG) that are read from one file.

Photos have tens; a 32 MiB PNG of 4 KiB chunks has 8,192.
"""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_JPEG_APP1, _JPEG_APP2, JPEG_SOS, JPEG_EOI = 0xE1, 0xE2, 0xDA, 0xD9
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xd9-\xdd\xe0-\xef\xfe]")
"""Pattern of the bytes of a JPEG's end marker (EOI) or of a marker that begins a segment.

A segment has a length, and libjpeg reads its marker. Fill bytes, stuffed bytes and restart markers
do not match. Other markers have no length: libjpeg skips them or rejects the file.
"""
_SEARCH_BYTES = 1 << 16
"""Number of bytes in one search for a JPEG marker.

The Python interpreter can switch threads between two searches.
"""
_EXIF_PREFIX = b"Exif\0\0"
_ICC_PREFIX = b"ICC_PROFILE\0"
_PNG_METADATA = frozenset({b"eXIf", b"tRNS"}) | PNG_CHUNKS
_ORIENTATION_TAG = 0x0112
_SHORT = 3
_MAX_EXIF_TAGS = 1_000


class ImageFormat(StrEnum):
    """Formats of image files that can be decoded and encoded."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        return f"image/{self.value}"


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Properties of an image file, read from its header.

    `width` and `height` are those of the stored pixels, before the EXIF orientation is applied.
    """

    format: ImageFormat
    width: int
    height: int
    orientation: int = 1
    """EXIF orientation, 1..8, where 1 = upright."""
    frames: int = 1
    """Number of frames; more than 1 in an animation."""
    colour: ColourTag = UNTAGGED
    transparent_grey: int | None = None
    """Grey level that a grey PNG declares as transparent; None for any other file.

    The level is 0..255, or 0..65,535 in a PNG of 16 bits per pixel.
    """

    @property
    def upright_hw(self) -> Size:
        """(height, width) in pixels after the EXIF orientation is applied."""
        swaps_sides = self.orientation >= 5
        return (self.width, self.height) if swaps_sides else (self.height, self.width)

    @property
    def pixels(self) -> int:
        """Number of pixels: width times height."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Largest size of one image: bytes of its file, number of pixels, longer side, aspect ratio."""

    bytes: int = 32 * 2**20
    pixels: int = 64_000_000
    side: int = 16_384
    """Longer side, in pixels."""
    aspect: float = 50
    """Longer side divided by the shorter side."""


def read_header(data: bytes | memoryview) -> ImageHeader:
    """Reads size, orientation, frame count and colour tag of an image file without decoding pixels.

    Raises UnsupportedImageType unless the bytes begin as JPEG, PNG or WebP. Raises UndecodableImage
    if the header is truncated or malformed, or if a side is 0.
    """
    view = memoryview(data)
    try:
        header = _parse(view)
    except (struct.error, IndexError) as error:
        raise UndecodableImage("The header of the image is truncated.") from error
    if header.width == 0 or header.height == 0:
        raise UndecodableImage("The image has no pixels.")
    return header


def count_scans(jpeg: bytes | memoryview) -> int:
    """Returns the number of scans in the first picture of a JPEG file.

    The picture ends at its end marker (EOI) or with the last byte. Payloads of segments are
    skipped, because thumbnails in them have scans of their own. Bytes behind EOI are skipped: they
    hold a video, a gain map or a second picture. Raises UndecodableImage for more than MAX_SEGMENTS
    segments. Source: `read_markers` and `next_marker` of libjpeg-turbo's jdmarker.c, which define a
    scan for decoders.
    """
    view = memoryview(jpeg)
    scans, at = 0, 2
    for _ in range(MAX_SEGMENTS):
        at = next_segment(view, at)
        if at == len(view) or view[at + 1] == JPEG_EOI:
            return scans
        scans += view[at + 1] == JPEG_SOS
        length = int.from_bytes(view[at + 2 : at + 4])
        at += 2 + max(2, length)
    raise UndecodableImage("The JPEG has too many segments.", limit=MAX_SEGMENTS)


def check_limits(header: ImageHeader, limits: ImageLimits) -> None:
    """Raises an error if an image's header exceeds the limits.

    The bytes of the file are not checked. The error is TooManyFrames for an animation. It is
    SideTooLong, TooManyPixels or AspectTooExtreme for the longer side, the number of pixels, or the
    aspect ratio.
    """
    long, short = max(header.upright_hw), min(header.upright_hw)
    if header.frames > 1:
        raise TooManyFrames(
            "The image is animated; send a still image.", limit=1, actual=header.frames
        )
    if long > limits.side:
        raise SideTooLong("A side has too many pixels.", limit=limits.side, actual=long)
    if header.pixels > limits.pixels:
        raise TooManyPixels(
            "Width times height is too large.", limit=limits.pixels, actual=header.pixels
        )
    if long > limits.aspect * short:
        raise AspectTooExtreme(
            "The long side is too many times the short side.",
            limit=limits.aspect,
            actual=round(long / short, 2),
        )


def _parse(view: memoryview) -> ImageHeader:
    if bytes(view[:3]) == _JPEG_SIGNATURE:
        return _parse_jpeg(view)
    if bytes(view[:8]) == _PNG_SIGNATURE:
        return _parse_png(view)
    if bytes(view[:4]) == b"RIFF" and bytes(view[8:12]) == b"WEBP":
        return _parse_webp(view)
    raise UnsupportedImageType("Allowed types are JPEG, PNG and WebP.")


def _parse_jpeg(view: memoryview) -> ImageHeader:
    size: Size | None = None
    orientation: int | None = None
    profile_parts: list[memoryview] = []
    for marker, segment in _jpeg_segments(view):
        if marker in JPEG_FRAME_HEADERS:
            if size is not None:
                raise UndecodableImage("The JPEG declares two frames.")
            size = struct.unpack_from(">HH", segment, 1)
        elif marker == _JPEG_APP1 and orientation is None and bytes(segment[:6]) == _EXIF_PREFIX:
            orientation = _orientation(segment[6:])
        elif marker == _JPEG_APP2 and bytes(segment[:12]) == _ICC_PREFIX:
            profile_parts.append(segment[len(_ICC_PREFIX) :])
    if size is None:
        raise UndecodableImage("The JPEG does not declare its size.")
    height, width = size
    return ImageHeader(
        ImageFormat.JPEG, width, height, orientation or 1, colour=jpeg_colour_tag(profile_parts)
    )


def _jpeg_segments(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields (marker, content) of each segment of a JPEG file before its first scan.

    The marker is the byte after 0xFF; the content excludes the length. Raises UndecodableImage,
    IndexError or struct.error if the file ends before the first scan. Raises UndecodableImage after
    MAX_SEGMENTS markers or stray bytes.
    """
    at = 2
    for _ in range(MAX_SEGMENTS):
        marker = view[at + 1]
        # Fill bytes before a marker are legal. Stray bytes are skipped, as in libjpeg.
        if view[at] != 0xFF or marker in (0x00, 0xFF):
            at += 1
        elif marker in _JPEG_STANDALONE:
            at += 2
        elif marker == JPEG_SOS:
            return
        else:
            (length,) = struct.unpack_from(">H", view, at + 2)
            if marker == JPEG_EOI or length < 2 or at + 2 + length > len(view):
                raise UndecodableImage("The JPEG ends before its first scan.")
            yield marker, view[at + 4 : at + 2 + length]
            at += 2 + length
    raise UndecodableImage("The JPEG has too many segments.")


def next_segment(view: memoryview, at: int) -> int:
    """Returns the offset of the first match of `_JPEG_SEGMENT` in `view` from offset `at` on.

    Without a match it is the length of `view`.
    """
    for start in range(at, len(view), _SEARCH_BYTES):
        # One byte more, for a marker across the border of two searches.
        if found := _JPEG_SEGMENT.search(view, start, start + _SEARCH_BYTES + 1):
            return found.start()
    return len(view)


def _parse_png(view: memoryview) -> ImageHeader:
    length, kind, width, height = struct.unpack_from(">I4sII", view, 8)
    if kind != b"IHDR" or length != 13:
        raise UndecodableImage("The PNG does not begin with its header.")
    frames = 1
    metadata: dict[bytes, memoryview] = {}
    for kind, content in _png_chunks(view):
        if kind == b"acTL":
            frames = max(frames, *struct.unpack_from(">I", content))
        elif kind in _PNG_METADATA:
            metadata.setdefault(kind, content)
    return ImageHeader(
        ImageFormat.PNG,
        width,
        height,
        _orientation(metadata[b"eXIf"]) if b"eXIf" in metadata else 1,
        frames,
        png_colour_tag(metadata),
        _transparent_grey(metadata[b"tRNS"], *view[24:26]) if b"tRNS" in metadata else None,
    )


def _transparent_grey(content: memoryview, depth: int, colour_type: int) -> int | None:
    """Returns the transparent grey level in the content of a PNG's tRNS chunk.

    `depth` is in bits per pixel. Levels of fewer than 8 bits are scaled to 0..255. Returns None if
    the PNG is not grey or the chunk is malformed.
    """
    if colour_type != 0 or len(content) != 2 or depth not in (1, 2, 4, 8, 16):
        return None
    level, top = int.from_bytes(content), (1 << depth) - 1
    return (level & top) * (255 // top if depth < 8 else 1)


def _png_chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yields (type, content) of each chunk of a PNG file before its IEND chunk.

    Raises UndecodableImage or struct.error if the PNG is truncated anywhere. Raises
    UndecodableImage for more than MAX_SEGMENTS chunks.
    """
    at = len(_PNG_SIGNATURE)
    for _ in range(MAX_SEGMENTS):
        length, kind = struct.unpack_from(">I4s", view, at)
        end = at + 12 + length
        if end > len(view):
            raise UndecodableImage("The PNG is truncated.")
        if kind == b"IEND":
            return
        yield kind, view[at + 8 : end - 4]
        at = end
    raise UndecodableImage("The PNG has too many chunks.")


def _parse_webp(view: memoryview) -> ImageHeader:
    kind = bytes(view[12:16])
    if kind == b"VP8 ":
        if bytes(view[23:26]) != b"\x9d\x01\x2a":
            raise UndecodableImage("The WebP has no key frame.")
        width, height = struct.unpack_from("<HH", view, 26)
        return ImageHeader(ImageFormat.WEBP, width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        signature, bits = struct.unpack_from("<BI", view, 20)
        if signature != 0x2F:
            raise UndecodableImage("The WebP has no lossless signature.")
        return ImageHeader(ImageFormat.WEBP, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        return _parse_extended_webp(view)
    raise UndecodableImage("The WebP holds no image.")


def _parse_extended_webp(view: memoryview) -> ImageHeader:
    wide, wide_high, tall, tall_high = struct.unpack_from("<HBHB", view, 24)
    frames = 0
    orientation: int | None = None
    colour: ColourTag | None = None
    for kind, content in _webp_chunks(view):
        if kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF" and orientation is None:
            prefixed = bytes(content[:6]) == _EXIF_PREFIX
            orientation = _orientation(content[6:] if prefixed else content)
        elif kind == b"ICCP" and colour is None:
            colour = webp_colour_tag(content)
    width, height = wide + (wide_high << 16) + 1, tall + (tall_high << 16) + 1
    return ImageHeader(
        ImageFormat.WEBP, width, height, orientation or 1, max(1, frames), colour or UNTAGGED
    )


def _webp_chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yields (type, content) of each chunk inside the RIFF container of a WebP file.

    Raises UndecodableImage for a truncated chunk and for more than MAX_SEGMENTS chunks.
    """
    (riff_size,) = struct.unpack_from("<I", view, 4)
    stop = min(len(view), 8 + riff_size)
    at = 12
    for _ in range(MAX_SEGMENTS):
        if at + 8 > stop:
            return
        kind, length = struct.unpack_from("<4sI", view, at)
        if at + 8 + length > len(view):
            raise UndecodableImage("The WebP is truncated.")
        yield kind, view[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    raise UndecodableImage("The WebP has too many chunks.")


def _orientation(tiff: memoryview) -> int:
    """Returns the EXIF orientation, 1..8, of an EXIF block; 1 if it is missing or unreadable."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(tiff[:2]))
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(min(count, _MAX_EXIF_TAGS)):
            tag, kind, _, value = struct.unpack_from(
                order + "HHIH", tiff, directory + 2 + 12 * entry
            )
            if tag == _ORIENTATION_TAG and kind == _SHORT:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
