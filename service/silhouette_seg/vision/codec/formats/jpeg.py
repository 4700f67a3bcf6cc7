"""Reads the header of JPEG files, and counts their scans."""

import re
import struct
from collections.abc import Iterator

from silhouette_seg.errors import UndecodableImage, UnsupportedImageType
from silhouette_seg.vision.codec.colour_tag import jpeg_colour_tag
from silhouette_seg.vision.codec.exif import EXIF_PREFIX
from silhouette_seg.vision.codec.header import (
    MAX_SEGMENTS,
    Dpi,
    EmbeddedMetadata,
    ImageHeader,
    InputFormat,
)
from silhouette_seg.vision.codec.orientation import select_orientation
from silhouette_seg.vision.geometry import Size

SIGNATURE = b"\xff\xd8\xff"

_APP0, _APP1, _APP2, SOS, EOI = 0xE0, 0xE1, 0xE2, 0xDA, 0xD9
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_UNSUPPORTED_CODINGS = {
    **dict.fromkeys((0xC3, 0xCB), "Lossless JPEG"),
    **dict.fromkeys((0xC9, 0xCA), "Arithmetic-coded JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "Hierarchical JPEG"),
    0xF7: "JPEG-LS",
}
"""Marker of a frame header -> name of a coding that is not decoded.

Lossless JPEG has no reduced size, which a mask of a large photo needs. In arithmetic coding the
decoder takes missing data for zeros, without a warning. No camera or phone writes either.
"""
_BITS = 8
"""Bits of a sample that are decoded."""
_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xd9-\xdd\xe0-\xef\xfe]")
"""Pattern of the bytes of a JPEG's end marker (EOI) or of a marker that begins a segment.

A segment has a length, and libjpeg reads its marker. Fill bytes, stuffed bytes and restart markers
do not match. Other markers have no length: libjpeg skips them or rejects the file.
"""
_SEARCH_BYTES = 1 << 16
"""Number of bytes in one search for a JPEG marker.

The Python interpreter can switch threads between two searches.
"""
_JFIF_PREFIX = b"JFIF\0"
_INCHES_PER_UNIT = {1: 1.0, 2: 2.54}
"""Factor from the unit of JFIF's density to pixels per inch: inches and centimetres."""
_ICC_PREFIX = b"ICC_PROFILE\0"
_XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"


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
        if at == len(view) or view[at + 1] == EOI:
            return scans
        scans += view[at + 1] == SOS
        length = int.from_bytes(view[at + 2 : at + 4])
        at += 2 + max(2, length)
    raise UndecodableImage("The JPEG has too many segments.", limit=MAX_SEGMENTS)


def parse_jpeg(view: memoryview) -> ImageHeader:
    """Reads the header of a JPEG file up to its first scan.

    Raises UnsupportedImageType for a coding of `_UNSUPPORTED_CODINGS` and for other than 8 bits.
    Raises UndecodableImage, IndexError or struct.error if the header is malformed.
    """
    size: Size | None = None
    exif: memoryview | None = None
    xmp: memoryview | None = None
    dpi: Dpi | None = None
    profile_parts: list[memoryview] = []
    for marker, segment in _segments(view):
        _check_coding(marker, segment)
        if marker in FRAME_HEADERS:
            if size is not None:
                raise UndecodableImage("The JPEG declares two frames.")
            size = struct.unpack_from(">HH", segment, 1)
        elif marker == _APP0 and dpi is None:
            dpi = _jfif_dpi(segment)
        elif marker == _APP1 and exif is None and bytes(segment[:6]) == EXIF_PREFIX:
            exif = segment
        elif marker == _APP1 and xmp is None and bytes(segment[:29]) == _XMP_PREFIX:
            xmp = segment[len(_XMP_PREFIX) :]
        elif marker == _APP2 and bytes(segment[:12]) == _ICC_PREFIX:
            profile_parts.append(segment[len(_ICC_PREFIX) :])
    if size is None:
        raise UndecodableImage("The JPEG does not declare its size.")
    height, width = size
    return ImageHeader(
        InputFormat.JPEG,
        width,
        height,
        select_orientation(exif, xmp),
        colour=jpeg_colour_tag(profile_parts),
        metadata=EmbeddedMetadata(exif, xmp, dpi),
    )


def _jfif_dpi(segment: memoryview) -> Dpi | None:
    """Returns the density of a JFIF segment; None for another segment or a mere aspect ratio."""
    if bytes(segment[:5]) != _JFIF_PREFIX or len(segment) < 12:
        return None
    unit, across, down = struct.unpack_from(">BHH", segment, 7)
    factor = _INCHES_PER_UNIT.get(unit)
    return (across * factor, down * factor) if factor and across and down else None


def _check_coding(marker: int, segment: memoryview) -> None:
    """Raises UnsupportedImageType for the frame header of a coding that is not decoded."""
    if coding := _UNSUPPORTED_CODINGS.get(marker):
        raise UnsupportedImageType(f"{coding} is not supported; baseline and progressive JPEG are.")
    if marker in FRAME_HEADERS and segment[0] != _BITS:
        raise UnsupportedImageType(
            f"JPEG of {segment[0]} bits is not supported; it must have {_BITS} bits."
        )


def _segments(view: memoryview) -> Iterator[tuple[int, memoryview]]:
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
        elif marker in _STANDALONE:
            at += 2
        elif marker == SOS:
            return
        else:
            (length,) = struct.unpack_from(">H", view, at + 2)
            if marker == EOI or length < 2 or at + 2 + length > len(view):
                raise UndecodableImage("The JPEG ends before its first scan.")
            yield marker, view[at + 4 : at + 2 + length]
            at += 2 + length
    raise UndecodableImage("The JPEG has too many segments.")


def next_segment(view: memoryview, at: int) -> int:
    """Returns the offset of the first match of `_SEGMENT` in `view` from offset `at` on.

    Without a match it is the length of `view`.
    """
    for start in range(at, len(view), _SEARCH_BYTES):
        # One byte more, for a marker across the border of two searches.
        if found := _SEGMENT.search(view, start, start + _SEARCH_BYTES + 1):
            return found.start()
    return len(view)
