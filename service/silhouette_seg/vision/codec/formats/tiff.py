"""Reads the first directory of TIFF files, and writes it alone for a decoder.

Source: TIFF Revision 6.0. The bytes are untrusted.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from operator import add

from silhouette_seg.errors import UndecodableImage, UnsupportedImageType
from silhouette_seg.vision.codec.colour_tag import UNTAGGED, profile_tag
from silhouette_seg.vision.codec.header import EmbeddedMetadata, ImageHeader, InputFormat
from silhouette_seg.vision.codec.orientation import ORIENTATION_TAG, select_orientation

SIGNATURES = (b"II*\0", b"MM\0*")

MAX_TILE_PIXELS = 2**22
"""Largest tile in pixels. The decoder allocates one, however small the image is."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES, _SAMPLE_FORMAT = 322, 323, 324, 325, 339
_SUBFILE, _XMP, _PROFILE = 254, 700, 34_675
_ARRAYS = frozenset({_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES})
_TABLES = frozenset({320, 347})
"""Tags with tables of some kilobytes: the palette (ColorMap), and the tables of JPEG."""
_PIXEL_TAGS = (
    frozenset({_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, _SAMPLES, _ROWS_PER_STRIP})
    | frozenset({_PLANAR, 317, _TILE_WIDTH, _TILE_HEIGHT, 332, 338, _SAMPLE_FORMAT, 529, 530, 532})
    | _ARRAYS
    | _TABLES
)
"""Tags that the pixels depend on."""
_MAX_TABLE_BYTES = 2**20
_MAX_VALUE_BYTES = 128
_COMPRESSIONS = frozenset({1, 5, 7, 8, 32_773, 32_946})
"""None, LZW, JPEG, Deflate, PackBits, and Deflate by its first number."""
_PHOTOMETRICS = frozenset({0, 1, 2, 3, 5, 6})
"""White is 0, black is 0, RGB, palette, CMYK and YCbCr."""
_MAX_SAMPLES = 5
_TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "Q", 6: "b", 7: "B", 8: "h", 9: "i", 10: "q"}
"""Type of a tag -> `struct` format of the same size. Fractions have eight bytes."""


@dataclass(frozen=True, slots=True)
class _Tag:
    """Entry of a directory: its 12 bytes, its type and its content."""

    entry: memoryview
    kind: str
    content: memoryview


def parse_tiff(view: memoryview) -> ImageHeader:
    """Reads the header of a TIFF file. Its first directory counts, and other pages are not read.

    Raises UnsupportedImageType for camera raw files and for codings that are not photos. Raises
    UndecodableImage, struct.error or IndexError for a malformed directory.
    """
    order = _order(view)
    tags = _read_directory(view)
    numbers = {tag: _numbers(tags[tag], order) for tag in _PIXEL_TAGS - _TABLES if tag in tags}
    width, height = (_first(numbers, tag, 0) for tag in (_WIDTH, _HEIGHT))
    if _SUBFILE in tags and _numbers(tags[_SUBFILE], order)[:1] == (1,):
        raise UnsupportedImageType("The TIFF begins with a preview, as camera raw files do.")
    _check_coding(numbers)
    _check_parts(numbers, width, height, len(view))
    profile = tags.get(_PROFILE)
    orientation = _numbers(tags[ORIENTATION_TAG], order)[:1] if ORIENTATION_TAG in tags else ()
    return ImageHeader(
        InputFormat.TIFF,
        width,
        height,
        _orientation(orientation, tags),
        colour=profile_tag(profile.content) if profile else UNTAGGED,
        metadata=EmbeddedMetadata(view, tags[_XMP].content if _XMP in tags else None),
    )


def first_page(data: bytes | memoryview) -> bytes:
    """Returns a TIFF file with one directory: the tags of the first page that its pixels need.

    A decoder then reads no metadata and no other page, and leaves the orientation to the caller.
    """
    view = memoryview(data)
    order = _order(view)
    tags = _read_directory(view)
    entries = [bytes(tags[tag].entry) for tag in sorted(_PIXEL_TAGS & tags.keys())]
    start = len(view) + len(view) % 2
    head = bytes(view[:4]) + struct.pack(order + "I", start)
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    return b"".join((head, view[8:], bytes(start - len(view)), directory))


def _order(view: memoryview) -> str:
    return "<" if view[0] == b"I"[0] else ">"


def _read_directory(view: memoryview) -> dict[int, _Tag]:
    """Returns the tags of the first directory, the first of each number.

    Tags of an unknown type are left out, unless the pixels depend on them. Raises UndecodableImage
    for content outside the file, and for a tag of the pixels with too many bytes.
    """
    order = _order(view)
    (start,) = struct.unpack_from(order + "I", view, 4)
    (count,) = struct.unpack_from(order + "H", view, start)
    tags: dict[int, _Tag] = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, type_number, length = struct.unpack_from(order + "HHI", view, at)
        kind = _TYPES.get(type_number, "")
        size = struct.calcsize(f"={kind or 'B'}") * length
        place = at + 8 if size <= 4 else struct.unpack_from(order + "I", view, at + 8)[0]
        if place + size > len(view):
            raise UndecodableImage("The TIFF is truncated.")
        if kind and tag not in tags:
            tags[tag] = _Tag(view[at : at + 12], kind, view[place : place + size])
        elif tag in _PIXEL_TAGS:
            raise UndecodableImage("The directory of the TIFF is malformed.")
    for tag in _PIXEL_TAGS & tags.keys():
        limit = _MAX_TABLE_BYTES if tag in _ARRAYS | _TABLES else _MAX_VALUE_BYTES
        if len(tags[tag].content) > limit:
            raise UndecodableImage(
                "A tag of the TIFF has too many bytes.", limit=limit, actual=len(tags[tag].content)
            )
    return tags


def _numbers(tag: _Tag, order: str) -> tuple[int, ...]:
    count = len(tag.content) // struct.calcsize(f"={tag.kind}")
    return struct.unpack(f"{order}{count}{tag.kind}", tag.content)


def _first(numbers: Mapping[int, tuple[int, ...]], tag: int, default: int) -> int:
    values = numbers.get(tag, ())
    return values[0] if values else default


def _check_coding(numbers: Mapping[int, tuple[int, ...]]) -> None:
    """Raises UnsupportedImageType unless the samples are whole numbers in a supported coding."""
    compression = _first(numbers, _COMPRESSION, 1)
    photometric = _first(numbers, _PHOTOMETRIC, -1)
    bits = set(numbers.get(_BITS, (1,)))
    if compression not in _COMPRESSIONS or photometric not in _PHOTOMETRICS:
        raise UnsupportedImageType(
            f"TIFF with compression {compression} and colours {photometric} is not supported."
        )
    is_whole = set(numbers.get(_SAMPLE_FORMAT, (1,))) == {1}
    is_small = _first(numbers, _SAMPLES, 1) <= _MAX_SAMPLES
    if len(bits) != 1 or not bits <= {1, 2, 4, 8, 16} or not is_whole or not is_small:
        raise UnsupportedImageType("TIFF samples must be whole numbers of 1 to 16 bits.")


def _check_parts(
    numbers: Mapping[int, tuple[int, ...]], width: int, height: int, size: int
) -> None:
    """Raises UndecodableImage unless strips or tiles cover the image and have a sensible size.

    `size` is that of the file in bytes; every strip and tile must lie within it.
    """
    samples = _first(numbers, _SAMPLES, 1)
    planes = samples if _first(numbers, _PLANAR, 1) == 2 else 1
    if _TILE_OFFSETS in numbers:
        tile_width, tile_height = _first(numbers, _TILE_WIDTH, 0), _first(numbers, _TILE_HEIGHT, 0)
        is_sensible = 0 < tile_width * tile_height <= MAX_TILE_PIXELS
        count = -(-width // tile_width) * -(-height // tile_height) if is_sensible else 0
        offsets, lengths = numbers[_TILE_OFFSETS], numbers.get(_TILE_BYTES, ())
    else:
        rows = min(_first(numbers, _ROWS_PER_STRIP, height), height)
        count = -(-height // rows) if rows > 0 else 0
        offsets, lengths = numbers.get(_STRIP_OFFSETS, ()), numbers.get(_STRIP_BYTES, ())
    if not width or not height:
        return
    if not count or not len(offsets) == len(lengths) == planes * count:
        raise UndecodableImage("The strips or tiles of the TIFF do not cover the image.")
    row_bytes = (width * samples * _first(numbers, _BITS, 1) + 7) // 8
    is_plain = _first(numbers, _COMPRESSION, 1) == 1
    if max(map(add, offsets, lengths)) > size or (is_plain and sum(lengths) < height * row_bytes):
        raise UndecodableImage("The TIFF is truncated.")


def _orientation(value: tuple[int, ...], tags: Mapping[int, _Tag]) -> int:
    if value and 1 <= value[0] <= 8:
        return value[0]
    return select_orientation(None, tags[_XMP].content if _XMP in tags else None)
