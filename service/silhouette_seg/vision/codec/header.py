"""What an image says about itself before any pixel is decoded, and the limits on that.

Small parsers of the marker, chunk and tag structure of JPEG, PNG and WebP. The bytes come from
strangers: every read is bounds-checked by `struct`, and every walk takes at most MAX_PARTS steps.
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
    of_jpeg,
    of_png,
    of_webp,
)
from silhouette_seg.vision.geometry import Size

MAX_PARTS = 10_000
"""Chunks or markers in one file. Photos have tens; a 32 MiB PNG in 4 KiB chunks has 8,192."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_JPEG_APP1, _JPEG_APP2, _JPEG_SOS, _JPEG_EOI = 0xE1, 0xE2, 0xDA, 0xD9
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xd9-\xdd\xe0-\xef\xfe]")
"""EOI, and each marker whose length libjpeg reads. Fill bytes, stuffed bytes and restart markers do
not match. Other markers have no length: libjpeg steps over them or refuses the file."""
_PIECE = 1 << 16
"""Bytes of one search for a marker. The interpreter can switch threads between two searches."""
_EXIF_PREFIX = b"Exif\0\0"
_ICC_PREFIX = b"ICC_PROFILE\0"
_PNG_READ = frozenset({b"eXIf", b"tRNS"}) | PNG_CHUNKS
_ORIENTATION_TAG = 0x0112
_SHORT = 3
_MAX_TAGS = 1_000


class ImageFormat(StrEnum):
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        return f"image/{self.value}"


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Width and height are as stored; `orientation` is EXIF's 1..8; animated if frames > 1."""

    format: ImageFormat
    width: int
    height: int
    orientation: int = 1
    frames: int = 1
    colour: ColourTag = UNTAGGED
    clear_grey: int | None = None
    """The level that is transparent in a grey PNG, among 256, or 65,536 where it has 16 bits."""

    @property
    def upright_hw(self) -> Size:
        turned = self.orientation >= 5
        return (self.width, self.height) if turned else (self.height, self.width)

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What one photo may be; `aspect` is the long side over the short side."""

    bytes: int = 32 * 2**20
    pixels: int = 64_000_000
    side: int = 16_384
    aspect: float = 50


def read_header(data: bytes | memoryview) -> ImageHeader:
    """Reads size, orientation, frame count and colour tag; no pixel is decoded.

    Raises UnsupportedImageType unless the bytes begin as JPEG, PNG or WebP, and UndecodableImage
    when they do but are cut short or malformed before the pixels.
    """
    view = memoryview(data)
    try:
        header = _parse(view)
    except (struct.error, IndexError) as error:
        raise UndecodableImage("The image ends before its header does.") from error
    if header.width == 0 or header.height == 0:
        raise UndecodableImage("The image has no pixels.")
    return header


def count_scans(jpeg: bytes | memoryview) -> int:
    """Number of scans in the first picture of a JPEG: from its SOI to its EOI or the last byte.

    The payloads of segments are skipped, since thumbnails there have scans of their own. Bytes
    behind EOI do not count: they hold a video, a gain map or a second picture. Raises
    UndecodableImage for more than MAX_PARTS segments. Source: `read_markers` and `next_marker` of
    libjpeg-turbo's jdmarker.c, which decide what a decoder takes for a scan.
    """
    view = memoryview(jpeg)
    scans, at = 0, 2
    for _ in range(MAX_PARTS):
        at = _next_segment(view, at)
        if at == len(view) or view[at + 1] == _JPEG_EOI:
            return scans
        scans += view[at + 1] == _JPEG_SOS
        length = int.from_bytes(view[at + 2 : at + 4])
        at += 2 + max(2, length)
    raise UndecodableImage("The JPEG has too many segments.", limit=MAX_PARTS)


def check_limits(header: ImageHeader, limits: ImageLimits) -> None:
    """Raises TooManyFrames, SideTooLong, TooManyPixels or AspectTooExtreme."""
    long, short = max(header.upright_hw), min(header.upright_hw)
    if header.frames > 1:
        raise TooManyFrames("Send one still image.", limit=1, actual=header.frames)
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
    profile: list[memoryview] = []
    for marker, segment in _jpeg_segments(view):
        if marker in _JPEG_FRAMES:
            if size is not None:
                raise UndecodableImage("The JPEG declares two frames.")
            size = struct.unpack_from(">HH", segment, 1)
        elif marker == _JPEG_APP1 and orientation is None and bytes(segment[:6]) == _EXIF_PREFIX:
            orientation = _orientation(segment[6:])
        elif marker == _JPEG_APP2 and bytes(segment[:12]) == _ICC_PREFIX:
            profile.append(segment[len(_ICC_PREFIX) :])
    if size is None:
        raise UndecodableImage("The JPEG does not declare its size.")
    height, width = size
    return ImageHeader(ImageFormat.JPEG, width, height, orientation or 1, colour=of_jpeg(profile))


def _jpeg_segments(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Marker and content of each segment before the first scan."""
    at = 2
    for _ in range(MAX_PARTS):
        marker = view[at + 1]
        # Fill bytes before a marker are legal; stray ones are skipped as libjpeg does.
        if view[at] != 0xFF or marker in (0x00, 0xFF):
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        elif marker == _JPEG_SOS:
            return
        else:
            (length,) = struct.unpack_from(">H", view, at + 2)
            if marker == _JPEG_EOI or length < 2 or at + 2 + length > len(view):
                raise UndecodableImage("The JPEG ends before its first scan.")
            yield marker, view[at + 4 : at + 2 + length]
            at += 2 + length
    raise UndecodableImage("The JPEG has too many segments.")


def _next_segment(view: memoryview, at: int) -> int:
    """Offset of the next marker of _JPEG_SEGMENT; the length of `view` if there is none."""
    for start in range(at, len(view), _PIECE):
        # One byte more, for a marker that lies across the border of two pieces.
        if found := _JPEG_SEGMENT.search(view, start, start + _PIECE + 1):
            return found.start()
    return len(view)


def _parse_png(view: memoryview) -> ImageHeader:
    length, kind, width, height = struct.unpack_from(">I4sII", view, 8)
    if kind != b"IHDR" or length != 13:
        raise UndecodableImage("The PNG does not begin with its header.")
    frames = 1
    said: dict[bytes, memoryview] = {}
    for kind, content in _png_chunks(view):
        if kind == b"acTL":
            frames = max(frames, *struct.unpack_from(">I", content))
        elif kind in _PNG_READ:
            said.setdefault(kind, content)
    return ImageHeader(
        ImageFormat.PNG,
        width,
        height,
        _orientation(said[b"eXIf"]) if b"eXIf" in said else 1,
        frames,
        of_png(said),
        _clear_grey(said[b"tRNS"], *view[24:26]) if b"tRNS" in said else None,
    )


def _clear_grey(content: memoryview, depth: int, colour_type: int) -> int | None:
    """The transparent level of a grey PNG; fewer than 8 bits become 8, as the pixels do."""
    if colour_type != 0 or len(content) != 2 or depth not in (1, 2, 4, 8, 16):
        return None
    level, top = int.from_bytes(content), (1 << depth) - 1
    return (level & top) * (255 // top if depth < 8 else 1)


def _png_chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each chunk before IEND; a PNG that is cut anywhere is refused here."""
    at = len(_PNG_SIGNATURE)
    for _ in range(MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", view, at)
        end = at + 12 + length
        if end > len(view):
            raise UndecodableImage("The PNG is cut short.")
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
            colour = of_webp(content)
    width, height = wide + (wide_high << 16) + 1, tall + (tall_high << 16) + 1
    return ImageHeader(
        ImageFormat.WEBP, width, height, orientation or 1, max(1, frames), colour or UNTAGGED
    )


def _webp_chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each chunk inside the RIFF container."""
    (riff_size,) = struct.unpack_from("<I", view, 4)
    stop = min(len(view), 8 + riff_size)
    at = 12
    for _ in range(MAX_PARTS):
        if at + 8 > stop:
            return
        kind, length = struct.unpack_from("<4sI", view, at)
        if at + 8 + length > len(view):
            raise UndecodableImage("The WebP is cut short.")
        yield kind, view[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    raise UndecodableImage("The WebP has too many chunks.")


def _orientation(tiff: memoryview) -> int:
    """The orientation tag of an EXIF block; 1 when there is none or it cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(tiff[:2]))
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(min(count, _MAX_TAGS)):
            tag, kind, _, value = struct.unpack_from(
                order + "HHIH", tiff, directory + 2 + 12 * entry
            )
            if tag == _ORIENTATION_TAG and kind == _SHORT:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
