"""JPEG files that end early: the missing scans and rows of their first picture."""

import numpy as np
import simplejpeg

from silhouette_seg.vision.codec.formats.jpeg import (
    EOI,
    FRAME_HEADERS,
    SOS,
    next_segment,
)
from silhouette_seg.vision.codec.header import MAX_SEGMENTS

END_MARKER = bytes((0xFF, EOI))
NO_END_MARKER = "The JPEG has no end marker; no pixel is missing."
"""Warning for a JPEG that lacks its last bytes and no pixel."""

_ALL_COEFFICIENTS = (1 << 64) - 1
_REDUCTION = 8
_GREY = 128
"""Level of each channel where libjpeg has no data."""


def has_all_scans(jpeg: bytes | memoryview) -> bool:
    """Returns True if the scans of a JPEG's first picture hold every coefficient to the last bit.

    A progressive JPEG that ends between two scans decodes without an error, but lacks detail. One
    with a scan for each channel may lack a channel. A malformed header counts as a missing scan.
    """
    view = memoryview(jpeg)
    held: dict[int, int] = {}
    at = 2
    try:
        for _ in range(MAX_SEGMENTS):
            at = next_segment(view, at)
            if at == len(view) or view[at + 1] == EOI:
                break
            length = int.from_bytes(view[at + 2 : at + 4])
            segment = view[at + 4 : at + 2 + length]
            if view[at + 1] in FRAME_HEADERS:
                held = {segment[6 + 3 * n]: 0 for n in range(segment[5])}
            elif view[at + 1] == SOS:
                first, last, approximation = segment[-3:]
                # The low half counts the bits that later scans refine.
                if approximation & 0xF == 0:
                    coefficients = (2 << last) - (1 << first)
                    for n in range(segment[0]):
                        held[segment[1 + 2 * n]] |= coefficients
            at += 2 + max(2, length)
    except (IndexError, KeyError, ValueError):
        return False
    return bool(held) and all(bits == _ALL_COEFFICIENTS for bits in held.values())


def describe_truncation(jpeg: bytes | memoryview) -> str:
    """Returns a sentence that says which part of a truncated JPEG is missing."""
    try:
        height = simplejpeg.decode_jpeg_header(jpeg)[0]
        # An eighth of the size, at which a missing block is one grey pixel.
        reduced = simplejpeg.decode_jpeg(
            b"".join((jpeg, END_MARKER)), "GRAY", min_height=1, min_width=1, strict=False
        )
    except ValueError:  # CMYK has no grey
        return "The JPEG is truncated: a part of its last scan is missing."
    has_data = np.flatnonzero((reduced != _GREY).any(axis=(1, 2)))
    known = min(height, _REDUCTION * (int(has_data[-1]) + 1)) if has_data.size else 0
    if known == height:
        return "The JPEG is truncated: a part of its last scan is missing."
    return f"The JPEG is truncated: the last {height - known} of its {height} rows are missing."
