"""Reads the header of WebP files."""

import struct
from collections.abc import Iterator

from silhouette_seg.errors import UndecodableImage
from silhouette_seg.vision.codec.colour_tag import UNTAGGED, ColourTag, profile_tag
from silhouette_seg.vision.codec.header import (
    MAX_SEGMENTS,
    EmbeddedMetadata,
    ImageHeader,
    InputFormat,
)
from silhouette_seg.vision.codec.orientation import select_orientation


def parse_webp(view: memoryview) -> ImageHeader:
    kind = bytes(view[12:16])
    if kind == b"VP8 ":
        if bytes(view[23:26]) != b"\x9d\x01\x2a":
            raise UndecodableImage("The WebP has no key frame.")
        width, height = struct.unpack_from("<HH", view, 26)
        return ImageHeader(InputFormat.WEBP, width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        signature, bits = struct.unpack_from("<BI", view, 20)
        if signature != 0x2F:
            raise UndecodableImage("The WebP has no lossless signature.")
        return ImageHeader(InputFormat.WEBP, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        return _parse_extended(view)
    raise UndecodableImage("The WebP holds no image.")


def _parse_extended(view: memoryview) -> ImageHeader:
    wide, wide_high, tall, tall_high = struct.unpack_from("<HBHB", view, 24)
    frames = 0
    exif: memoryview | None = None
    xmp: memoryview | None = None
    colour: ColourTag | None = None
    for kind, content in _chunks(view):
        if kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF" and exif is None:
            exif = content
        elif kind == b"XMP " and xmp is None:
            xmp = content
        elif kind == b"ICCP" and colour is None:
            colour = profile_tag(content)
    width, height = wide + (wide_high << 16) + 1, tall + (tall_high << 16) + 1
    return ImageHeader(
        InputFormat.WEBP,
        width,
        height,
        select_orientation(exif, xmp),
        max(1, frames),
        colour or UNTAGGED,
        metadata=EmbeddedMetadata(exif, xmp),
    )


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
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
