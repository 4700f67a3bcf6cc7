"""Reads the header of GIF files up to the first frame, and takes that frame out for a decoder.

Source: GIF89a specification. The bytes are untrusted.
"""

import struct
from dataclasses import dataclass

from silhouette_seg.errors import UndecodableImage
from silhouette_seg.vision.codec.header import MAX_SEGMENTS, ImageHeader, InputFormat

SIGNATURES = (b"GIF87a", b"GIF89a")

_SCREEN_BYTES = 13
"""Bytes of signature and logical screen descriptor."""
_EXTENSION, _IMAGE, _GRAPHIC_CONTROL = 0x21, 0x2C, 0xF9


@dataclass(frozen=True, slots=True)
class _FirstFrame:
    """Offsets of the first frame's descriptor, and of its graphic control extension, or None."""

    image: int
    control: int | None


def parse_gif(view: memoryview) -> ImageHeader:
    """Reads the header of a GIF file; its first frame counts, so it is a still image.

    Raises UndecodableImage, struct.error or IndexError if it has no frame.
    """
    width, height = struct.unpack_from("<HH", view, 6)
    frame = _find_frame(view)
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", view, frame.image + 1)
    if not frame_width or not frame_height:
        raise UndecodableImage("The image has no pixels.")
    # Viewers enlarge the screen for a frame that exceeds it.
    return ImageHeader(
        InputFormat.GIF, max(width, left + frame_width), max(height, top + frame_height)
    )


def first_frame(data: bytes | memoryview) -> bytes:
    """Returns a GIF file without comments and other extensions before its first frame."""
    view = memoryview(data)
    frame = _find_frame(view)
    control = b"" if frame.control is None else view[frame.control : frame.control + 8]
    return b"".join((view[: _screen_end(view)], control, view[frame.image :]))


def _screen_end(view: memoryview) -> int:
    flags = view[10]
    return _SCREEN_BYTES + (3 << (flags & 7) + 1 if flags & 0x80 else 0)


def _find_frame(view: memoryview) -> _FirstFrame:
    at = _screen_end(view)
    control: int | None = None
    for _ in range(MAX_SEGMENTS):
        if view[at] == _IMAGE:
            return _FirstFrame(at, control)
        if view[at] != _EXTENSION:
            raise UndecodableImage("The GIF has no frame.")
        if view[at + 1] == _GRAPHIC_CONTROL and view[at + 2] == 4:
            control = at
        at = _skip_blocks(view, at + 2)
    raise UndecodableImage("The GIF has too many extensions.", limit=MAX_SEGMENTS)


def _skip_blocks(view: memoryview, at: int) -> int:
    """Returns the offset behind a sequence of blocks, which ends with an empty one."""
    for _ in range(MAX_SEGMENTS):
        length = view[at]
        at += 1 + length
        if not length:
            return at
    raise UndecodableImage("The GIF has too many blocks.", limit=MAX_SEGMENTS)
