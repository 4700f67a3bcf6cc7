"""Checks that the compressed data of a PNG is no more than its image.

libpng decompresses surplus data as well, at up to a thousand times its size. A file within the
limit of bytes could then occupy a thread for a minute.
"""

import struct
import zlib
from collections.abc import Iterable

from silhouette_seg.errors import UndecodableImage
from silhouette_seg.vision.codec.formats.png import chunks

try:
    from isal import isal_zlib as inflater
except ImportError:  # no wheel for this platform
    import zlib as inflater  # type: ignore[no-redef]

_ERRORS: tuple[type[Exception], ...] = (zlib.error, inflater.error)  # type: ignore[assignment]
MAX_UNCHECKED_BYTES = 64 * 1024
"""Compressed bytes that are not checked: their decompression takes a fraction of a second."""
_PIECE_BYTES = 2**20
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type of a PNG -> number of channels of a stored pixel."""
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
"""First column, first row, step of columns and step of rows of each pass of an interlaced PNG."""


def check_png_data(png: bytes | memoryview) -> None:
    """Raises UndecodableImage if the data of a PNG decompresses to more than its pixels.

    The header of the file must have been read. Damaged data is left to the decoder.
    """
    view = memoryview(png)
    parts = [content for kind, content in chunks(view) if kind == b"IDAT"]
    if sum(map(len, parts)) <= MAX_UNCHECKED_BYTES:
        return
    expected = _stored_bytes(view)
    if expected is None:
        return
    try:
        _inflate(parts, expected)
    except _ERRORS:
        return


def _inflate(parts: Iterable[memoryview], max_bytes: int) -> None:
    """Decompresses data piece by piece; raises UndecodableImage for more than `max_bytes`."""
    stream = inflater.decompressobj()
    total = 0
    for part in parts:
        rest: bytes | memoryview = part
        while rest and not stream.eof:
            total += len(stream.decompress(rest, _PIECE_BYTES))
            if total > max_bytes:
                raise UndecodableImage("The PNG has more data than its image.", limit=max_bytes)
            rest = stream.unconsumed_tail


def _stored_bytes(view: memoryview) -> int | None:
    """Returns the number of bytes of a PNG's rows, filter bytes included; None if unknown."""
    width, height, depth, colour_type, _, _, interlace = struct.unpack_from(">IIBBBBB", view, 16)
    if colour_type not in _CHANNELS or interlace not in (0, 1):
        return None
    bits = depth * _CHANNELS[colour_type]
    total = 0
    for left, top, across, down in _ADAM7 if interlace else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total
