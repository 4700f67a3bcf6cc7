"""Reads the orientation of an image from its EXIF block or XMP packet, and composes orientations.

An orientation is that of EXIF: 1..8, where 1 = upright. The bytes are untrusted.
"""

import re
from collections.abc import Iterable

from silhouette_seg.vision.codec.exif import read_tags

MAX_XMP_BYTES = 1024 * 1024
"""Number of bytes of an XMP packet that are searched. Cameras write 1 to 60 KB."""
ORIENTATION_TAG = 0x0112

_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""TIFF type of a tag -> `struct` format of its integer. The standard has SHORT, type 3."""
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")
_CORNERS = {
    1: (0, 1, 2, 3),
    2: (1, 0, 3, 2),
    3: (3, 2, 1, 0),
    4: (2, 3, 0, 1),
    5: (0, 2, 1, 3),
    6: (2, 0, 3, 1),
    7: (3, 1, 2, 0),
    8: (1, 3, 0, 2),
}
"""Orientation -> stored corner at each corner of the upright image.

Corners are numbered in rows: top left, top right, bottom left, bottom right.
"""
_ORIENTATIONS = {corners: orientation for orientation, corners in _CORNERS.items()}


def select_orientation(exif: memoryview | None, xmp: memoryview | None) -> int:
    """Returns the orientation of an image from its EXIF block and its XMP packet.

    EXIF takes precedence. XMP counts if there is no EXIF block, or none with a valid orientation.
    Without both the orientation is 1.
    """
    found = None if exif is None else exif_orientation(exif)
    if found is None and xmp is not None:
        found = _xmp_orientation(xmp)
    return found or 1


def exif_orientation(exif: memoryview) -> int | None:
    """Returns the orientation in an EXIF block, with or without the prefix `Exif`.

    The tag may have any integer type. Returns None if it is missing, unreadable or not 1..8.
    """
    for tag in read_tags(exif):
        if tag.number == ORIENTATION_TAG and tag.kind in _INTEGERS:
            value = tag.integer(_INTEGERS[tag.kind])
            return value if value in _CORNERS else None
    return None


def compose(orientations: Iterable[int]) -> int:
    """Returns the orientation that has the effect of several, applied one after another."""
    corners = _CORNERS[1]
    for orientation in orientations:
        corners = tuple(corners[corner] for corner in _CORNERS[orientation])  # type: ignore[assignment]
    return _ORIENTATIONS[corners]


def _xmp_orientation(xmp: memoryview) -> int | None:
    """Returns `tiff:Orientation` of an XMP packet, an attribute or an element; None without one."""
    found = _XMP_ORIENTATION.search(xmp[:MAX_XMP_BYTES])
    return int(found[1]) if found else None
