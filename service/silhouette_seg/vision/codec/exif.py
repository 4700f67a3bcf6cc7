"""Reads the first directory of an EXIF block, and writes one. The bytes read are untrusted.

An EXIF block is a TIFF file without pixels. Source: TIFF Revision 6.0.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from PIL import Image

EXIF_PREFIX = b"Exif\0\0"
"""Bytes before the EXIF block in JPEG, and in WebP and HEIF of some writers."""

_MAX_TAGS = 1_000
_SIZES = {2: 1, 5: 8}
"""TIFF type -> bytes of one value: ASCII, and RATIONAL as two integers."""


@dataclass(frozen=True, slots=True)
class ExifTag:
    """Entry of a directory in an EXIF block. Long values lie elsewhere in the block."""

    block: memoryview
    order: str
    """Byte order as the first character of a `struct` format."""
    number: int
    kind: int
    count: int
    place: int
    """Offset of the four bytes in the entry that are its value, or the offset of its value."""

    def integer(self, format: str) -> int:
        """Returns the value in the entry by a `struct` format such as `H`."""
        return int(struct.unpack_from(self.order + format, self.block, self.place)[0])

    def text(self) -> bytes:
        """Returns the bytes of an ASCII tag with their zeros; empty if it is none or truncated."""
        return bytes(self._content()) if self.kind == 2 else b""

    def fraction(self) -> float | None:
        """Returns the value of a RATIONAL tag; None if it is none, truncated or divided by zero."""
        content = self._content() if self.kind == 5 else b""
        if len(content) != 8:
            return None
        numerator, denominator = struct.unpack(self.order + "II", content)
        return float(numerator / denominator) if denominator else None

    def _content(self) -> memoryview:
        size = _SIZES[self.kind] * self.count
        at = self.place if size <= 4 else self.integer("I")
        content = self.block[at : at + size]
        return content if len(content) == size else self.block[:0]


def read_tags(exif: memoryview) -> Iterator[ExifTag]:
    """Yields the tags of the first directory of an EXIF block, with or without its prefix.

    It ends at the first tag that is truncated, or after 1,000 tags.
    """
    block = exif[len(EXIF_PREFIX) :] if bytes(exif[: len(EXIF_PREFIX)]) == EXIF_PREFIX else exif
    order = {b"II": "<", b"MM": ">"}.get(bytes(block[:2]))
    if order is None:
        return
    try:
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, directory)
        for entry in range(min(count, _MAX_TAGS)):
            at = directory + 2 + 12 * entry
            number, kind, length, _ = struct.unpack_from(order + "HHII", block, at)
            yield ExifTag(block, order, number, kind, length, at + 8)
    except struct.error:
        return


def write_exif(values: Mapping[int, bytes | float | int]) -> bytes:
    """Returns an EXIF block, with its prefix, of values by the number of their tag.

    Text is bytes without zeros.
    """
    exif = Image.Exif()
    for number, value in values.items():
        exif[number] = value
    return exif.tobytes()
