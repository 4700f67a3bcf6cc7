"""Reads the boxes of HEIF files: items, their places in the file, properties and references.

Source: ISO/IEC 14496-12 (ISO base media file format) and ISO/IEC 23008-12 (HEIF). The bytes are
untrusted. Reads outside a box raise struct.error or IndexError.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from silhouette_seg.errors import UndecodableImage
from silhouette_seg.vision.codec.header import MAX_SEGMENTS

MAX_ITEMS = 4_000
"""Maximum number of items, and of references, in one file.

A photo of 12 megapixels has 50 tiles, each an item, and one of 200 megapixels has 800.
"""

_FULL_BOX_BYTES = 4
"""Bytes of version and flags at the start of a full box."""


@dataclass(frozen=True, slots=True)
class Location:
    """Place of an item's data: parts as (offset, length), in the file or in the box `idat`."""

    in_idat: bool
    extents: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Meta:
    """Content of a `meta` box. Items are named by their numbers."""

    file: memoryview
    primary: int | None = None
    """Number of the item that viewers show; None if the file names none."""
    kinds: dict[int, bytes] = field(default_factory=dict)
    """Item -> type, such as `hvc1`, `grid` or `Exif`."""
    is_text_valid: bool = True
    """True if type, name and media type of every item are UTF-8."""
    properties: dict[int, list[tuple[bytes, memoryview]]] = field(default_factory=dict)
    """Item -> type and content of its properties, in order."""
    references: dict[bytes, list[tuple[int, tuple[int, ...]]]] = field(default_factory=dict)
    """Type of a reference, such as `dimg` -> the item it comes from and those it goes to."""
    locations: dict[int, Location] = field(default_factory=dict)
    idat: memoryview = field(default_factory=lambda: memoryview(b""))

    def property(self, item: int, kind: bytes) -> memoryview | None:
        """Returns the content of an item's first property of a type, or None without one."""
        return next((content for each, content in self.properties[item] if each == kind), None)

    def targets(self, item: int, kind: bytes) -> tuple[int, ...]:
        """Returns the items that an item refers to, in order."""
        return next((to for source, to in self.references.get(kind, []) if source == item), ())

    def sources(self, item: int, kind: bytes) -> list[int]:
        """Returns the items that refer to an item."""
        return [source for source, to in self.references.get(kind, []) if item in to]

    def data(self, item: int) -> memoryview:
        """Returns the bytes of an item.

        Raises UndecodableImage if the item has no place or a part of it is outside the file.
        """
        location = self.locations.get(item)
        if location is None:
            raise UndecodableImage("The HEIF lacks the place of an item.")
        source = self.idat if location.in_idat else self.file
        parts = []
        for offset, length in location.extents:
            # A length of 0 stands for all bytes up to the end.
            end = offset + length if length else len(source)
            if end > len(source):
                raise UndecodableImage("The HEIF is truncated.")
            parts.append(source[offset:end])
        return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def boxes(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yields type and content of each box.

    Raises UndecodableImage for a box that is truncated, and for more than MAX_SEGMENTS boxes.
    """
    at = 0
    for _ in range(MAX_SEGMENTS):
        if at == len(view):
            return
        size, kind = struct.unpack_from(">I4s", view, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", view, start)
            start += 8
        end = at + size if size else len(view)
        if not start <= end <= len(view):
            raise UndecodableImage("The HEIF is truncated.")
        yield kind, view[start:end]
        at = end
    raise UndecodableImage("The HEIF has too many boxes.", limit=MAX_SEGMENTS)


def read_meta(file: memoryview, content: memoryview) -> Meta:
    """Reads the content of the `meta` box of a HEIF file.

    Raises UndecodableImage, struct.error or IndexError if it is malformed, and UndecodableImage for
    more than MAX_ITEMS items.
    """
    meta = Meta(file)
    for kind, box in boxes(content[_FULL_BOX_BYTES:]):
        match kind:
            case b"pitm":
                (meta.primary,) = struct.unpack_from(">I" if box[0] else ">H", box, 4)
            case b"iinf":
                _read_items(meta, box)
            case b"iref":
                _read_references(meta, box)
            case b"iprp":
                _read_properties(meta, box)
            case b"iloc":
                _read_locations(meta, box)
            case b"idat":
                meta.idat = box
    for item in meta.kinds:
        meta.properties.setdefault(item, [])
    return meta


def _read_items(meta: Meta, box: memoryview) -> None:
    start = 8 if box[0] else 6
    for kind, entry in boxes(box[start:]):
        if kind == b"infe" and entry[0] in (2, 3):
            number, at = (">H", 4) if entry[0] == 2 else (">I", 4)
            (item,) = struct.unpack_from(number, entry, at)
            at += struct.calcsize(number) + 2
            meta.kinds[item] = bytes(entry[at : at + 4])
            _check_count(len(meta.kinds))
            meta.is_text_valid &= _is_utf8(entry[at:])


def _is_utf8(text: memoryview) -> bool:
    try:
        str(text, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read_references(meta: Meta, box: memoryview) -> None:
    number = "I" if box[0] else "H"
    total = 0
    for kind, entry in boxes(box[_FULL_BOX_BYTES:]):
        source, count = struct.unpack_from(f">{number}H", entry)
        total += count
        _check_count(total)
        start = struct.calcsize(f">{number}H")
        targets = struct.unpack_from(f">{count}{number}", entry, start)
        meta.references.setdefault(kind, []).append((source, targets))


def _read_properties(meta: Meta, box: memoryview) -> None:
    declared: list[tuple[bytes, memoryview]] = []
    for kind, content in boxes(box):
        if kind == b"ipco":
            declared = list(boxes(content))
        elif kind == b"ipma":
            for item, indices in _read_associations(content):
                # Index 0 stands for no property.
                found = [declared[index - 1] for index in indices if index]
                meta.properties.setdefault(item, []).extend(found)


def _read_associations(box: memoryview) -> Iterator[tuple[int, list[int]]]:
    """Yields each item of an `ipma` box and the indices of its properties, from 1."""
    number = ">IB" if box[0] else ">HB"
    is_wide = box[3] & 1
    (count,) = struct.unpack_from(">I", box, 4)
    _check_count(count)
    at = 8
    for _ in range(count):
        item, length = struct.unpack_from(number, box, at)
        at += struct.calcsize(number)
        # The highest bit of an index says that readers must support the property.
        if is_wide:
            indices = [index & 0x7FFF for index in struct.unpack_from(f">{length}H", box, at)]
        else:
            indices = [index & 0x7F for index in struct.unpack_from(f">{length}B", box, at)]
        at += length * (2 if is_wide else 1)
        yield item, indices


def _read_locations(meta: Meta, box: memoryview) -> None:
    version = box[0]
    offset_size, length_size = box[4] >> 4, box[4] & 15
    base_size, index_size = box[5] >> 4, box[5] & 15 if version else 0
    number = ">I" if version == 2 else ">H"
    (count,) = struct.unpack_from(number, box, 6)
    _check_count(count)
    reader = _Reader(box, 6 + struct.calcsize(number))
    total = 0
    for _ in range(count):
        item = reader.integer(struct.calcsize(number))
        method = reader.integer(2) & 15 if version else 0
        source = reader.integer(2)
        base = reader.integer(base_size)
        extent_count = reader.integer(2)
        total += extent_count
        _check_count(total)
        extents = []
        for _ in range(extent_count):
            reader.integer(index_size)
            offset = base + reader.integer(offset_size)
            extents.append((offset, reader.integer(length_size)))
        # Data in another file, or in another item, is not followed.
        if not source and method < 2 and extents:
            meta.locations[item] = Location(method == 1, tuple(extents))


class _Reader:
    """Reads big-endian integers of 0 to 8 bytes, one after another."""

    def __init__(self, view: memoryview, at: int) -> None:
        self._view, self._at = view, at

    def integer(self, size: int) -> int:
        """Returns the next integer, or 0 for no bytes. Raises IndexError at the end."""
        part = self._view[self._at : self._at + size]
        if len(part) < size:
            raise IndexError
        self._at += size
        return int.from_bytes(part)


def _check_count(count: int) -> None:
    if count > MAX_ITEMS:
        raise UndecodableImage("The HEIF has too many items.", limit=MAX_ITEMS, actual=count)
