"""Reads the header of PNG files."""

import struct
import zlib
from collections.abc import Iterator

from silhouette_seg.errors import UndecodableImage
from silhouette_seg.vision.codec.colour_tag import PNG_CHUNKS, png_colour_tag
from silhouette_seg.vision.codec.header import (
    MAX_SEGMENTS,
    METRES_PER_INCH,
    Dpi,
    EmbeddedMetadata,
    ImageHeader,
    InputFormat,
)
from silhouette_seg.vision.codec.orientation import MAX_XMP_BYTES, select_orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_METADATA = frozenset({b"eXIf", b"pHYs", b"tRNS"}) | PNG_CHUNKS
_XMP_KEYWORD = b"XML:com.adobe.xmp\0"


def parse_png(view: memoryview) -> ImageHeader:
    length, kind, width, height = struct.unpack_from(">I4sII", view, 8)
    if kind != b"IHDR" or length != 13:
        raise UndecodableImage("The PNG does not begin with its header.")
    frames = 1
    metadata: dict[bytes, memoryview] = {}
    for kind, content in chunks(view):
        if kind == b"acTL":
            frames = max(frames, *struct.unpack_from(">I", content))
        elif kind in _METADATA or bytes(content[: len(_XMP_KEYWORD)]) == _XMP_KEYWORD:
            metadata.setdefault(kind, content)
    exif = metadata.get(b"eXIf")
    xmp = _xmp_packet(metadata[b"iTXt"]) if b"iTXt" in metadata else None
    return ImageHeader(
        InputFormat.PNG,
        width,
        height,
        select_orientation(exif, xmp),
        frames,
        png_colour_tag(metadata),
        _transparent_grey(metadata[b"tRNS"], *view[24:26]) if b"tRNS" in metadata else None,
        metadata=EmbeddedMetadata(exif, xmp, _physical_dpi(metadata.get(b"pHYs"))),
    )


def _physical_dpi(content: memoryview | None) -> Dpi | None:
    """Returns the resolution in a PNG's pHYs chunk; None for a mere aspect ratio."""
    if content is None or len(content) != 9:
        return None
    across, down, unit = struct.unpack(">IIB", content)
    if unit != 1 or not across or not down:
        return None
    return across * METRES_PER_INCH, down * METRES_PER_INCH


def _xmp_packet(content: memoryview) -> memoryview:
    """Returns the XMP packet in the content of a PNG's iTXt chunk; empty if it is malformed.

    The content is a keyword, a flag for compression, the method, two strings that end with a zero,
    and the packet. At most MAX_XMP_BYTES are unpacked.
    """
    start = len(_XMP_KEYWORD)
    try:
        is_compressed, _ = content[start : start + 2]
        _, _, text = bytes(content[start + 2 :]).split(b"\0", 2)
        if is_compressed:
            text = zlib.decompressobj().decompress(text, MAX_XMP_BYTES)
    except (ValueError, zlib.error):
        text = b""
    return memoryview(text)


def _transparent_grey(content: memoryview, depth: int, colour_type: int) -> int | None:
    """Returns the transparent grey level in the content of a PNG's tRNS chunk.

    `depth` is in bits per pixel. Levels of fewer than 8 bits are scaled to 0..255. Returns None if
    the PNG is not grey or the chunk is malformed.
    """
    if colour_type != 0 or len(content) != 2 or depth not in (1, 2, 4, 8, 16):
        return None
    level, top = int.from_bytes(content), (1 << depth) - 1
    return (level & top) * (255 // top if depth < 8 else 1)


def chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yields (type, content) of each chunk of a PNG file before its IEND chunk.

    Raises UndecodableImage or struct.error if the PNG is truncated anywhere. Raises
    UndecodableImage for more than MAX_SEGMENTS chunks.
    """
    at = len(SIGNATURE)
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
