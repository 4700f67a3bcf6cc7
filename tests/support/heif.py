"""HEIF files for tests: PyAV and Pillow encode the images, and `struct` writes the boxes."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.support.images import make, make_animated, person, rgb_profile

Box = tuple[bytes, bytes]
"""Type and content of a box."""

SRGB_NCLX = (1, 13, 6)
"""Primaries, transfer characteristics and matrix of the images that are made here."""
ALPHA_TYPE = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"


@dataclass(frozen=True)
class HeifItem:
    """One item of a HEIF file."""

    kind: bytes
    data: bytes
    properties: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Items of a HEIF file, numbered from 1, and the references between them."""

    items: list[HeifItem]
    references: list[tuple[bytes, int, list[int]]] = field(default_factory=list)
    """Type of each reference, the item it comes from and those it goes to."""
    primary: int = 1
    brand: bytes = b"mif1"


def make_heic(pixels: NDArray[np.uint8], *properties: Box, **options: Any) -> bytes:
    """Encodes RGB as a HEIC. Its properties follow size, decoder configuration and colour."""
    return heif_file(heif_layout(hevc_item(pixels, *properties, **options), b"heic"))


def make_avif(pixels: NDArray[np.uint8], *properties: Box, **options: Any) -> bytes:
    """Encodes RGB as an AVIF, with the same properties."""
    return heif_file(heif_layout(av1_item(pixels, *properties, **options), b"avif"))


def heif_layout(item: HeifItem, brand: bytes, exif: bytes = b"", xmp: bytes = b"") -> Layout:
    """Returns a file of one image, with an EXIF block and an XMP packet if they are not empty."""
    layout = Layout([item], brand=brand)
    for kind, data in ((b"Exif", exif and bytes(4) + exif), (b"mime", xmp)):
        if data:
            layout.items.append(HeifItem(kind, data))
            layout.references.append((b"cdsc", len(layout.items), [1]))
    return layout


def grid_layout(
    pixels: NDArray[np.uint8], tile: int, *properties: Box, is_avif: bool = False
) -> Layout:
    """Returns a HEIC or AVIF of tiles with `tile` pixels a side.

    The last ones are padded with black.
    """
    encode = av1_item if is_avif else hevc_item
    height, width = pixels.shape[:2]
    rows, columns = -(-height // tile), -(-width // tile)
    padded = np.zeros((rows * tile, columns * tile, 3), np.uint8)
    padded[:height, :width] = pixels
    tiles = [
        encode(padded[tile * row : tile * (row + 1), tile * column : tile * (column + 1)])
        for row in range(rows)
        for column in range(columns)
    ]
    content = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    grid = HeifItem(b"grid", content, (ispe(width, height), nclx(), *properties))
    numbers = list(range(2, len(tiles) + 2))
    brand = b"avif" if is_avif else b"heic"
    return Layout([grid, *tiles], [(b"dimg", 1, numbers)], brand=brand)


def with_alpha(
    layout: Layout, alpha: NDArray[np.uint8], *properties: Box, premultiplied: bool = False
) -> Layout:
    """Adds an alpha channel, uint8 [h,w], to the first item of a HEIC."""
    kind = (b"auxC", bytes(4) + ALPHA_TYPE + b"\0")
    item = hevc_item(np.dstack([alpha] * 3), kind, *properties, format="gray")
    number = len(layout.items) + 1
    references = [*layout.references, (b"auxl", number, [1])]
    if premultiplied:
        references.append((b"prem", 1, [number]))
    return Layout([*layout.items, item], references, layout.primary, layout.brand)


@cache
def heif_seeds() -> dict[str, bytes]:
    """Returns small files of each kind of HEIC and AVIF, by name; for fuzzing."""
    small, large = person(64, 80), person(100, 130)
    alpha = small[..., 0]
    profile = icc(rgb_profile("Display P3"))
    return {
        "heic": heif_file(heif_layout(hevc_item(small, irot(3)), b"heic", exif_block(6))),
        "heic_10": make_heic(small, format="yuv420p10le", colour=nclx(9, 16, 6)),
        "heic_alpha": heif_file(with_alpha(heif_layout(hevc_item(small), b"heic"), alpha)),
        "heic_grid": heif_file(grid_layout(large, 64, imir(1))),
        "heic_crop": make_heic(small, clap(8, 4, 64, 56, (80, 64)), colour=profile),
        "avif": make_avif(small, irot(1), imir(0)),
        "avif_alpha": make("AVIF", np.dstack([small, alpha]), quality=60),
        "avif_grid": heif_file(grid_layout(large, 64, irot(2), is_avif=True)),
        "avif_animated": make_animated("AVIF"),
    }


def ispe(width: int, height: int) -> Box:
    return b"ispe", struct.pack(">III", 0, width, height)


def nclx(primaries: int = 1, transfer: int = 13, matrix: int = 6) -> Box:
    return b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, 0x80)


def icc(profile: bytes) -> Box:
    return b"colr", b"prof" + profile


def irot(quarter_turns: int) -> Box:
    """Returns a rotation, anticlockwise."""
    return b"irot", bytes([quarter_turns])


def imir(axis: int) -> Box:
    """Returns a mirror: 0 exchanges top and bottom, 1 left and right."""
    return b"imir", bytes([axis])


def clap(x: int, y: int, width: int, height: int, of: tuple[int, int]) -> Box:
    """Returns the crop of an image of (width, height) `of` to a part of it."""
    offsets = (2 * x + width - of[0], 2, 2 * y + height - of[1], 2)
    return b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, *offsets)


TURNS: dict[int, tuple[Box, ...]] = {
    1: (),
    2: (imir(1),),
    3: (irot(2),),
    4: (imir(0),),
    5: (irot(1), imir(0)),
    6: (irot(3),),
    7: (irot(3), imir(0)),
    8: (irot(1),),
}
"""EXIF orientation -> properties with the same effect, in MIAF's order."""


def exif_block(orientation: int, kind: int = 3) -> bytes:
    """Returns an EXIF block with one tag, the orientation, of a TIFF type."""
    letter = {1: "Bxxx", 3: "Hxx", 4: "I", 6: "bxxx", 8: "hxx", 9: "i"}[kind]
    return b"MM" + struct.pack(f">HIHHHI{letter}I", 42, 8, 1, 0x0112, kind, 1, orientation, 0)


def xmp_packet(orientation: int, *, element: bool = False) -> bytes:
    """Returns an XMP packet with `tiff:Orientation` as an attribute or an element."""
    attribute = "" if element else f' tiff:Orientation="{orientation}"'
    content = f"<tiff:Orientation>{orientation}</tiff:Orientation>" if element else ""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        f"{attribute}>{content}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def hevc_item(
    pixels: NDArray[np.uint8],
    *properties: Box,
    format: str = "yuvj444p",
    colour: Box | None = None,
    size: tuple[int, int] | None = None,
) -> HeifItem:
    """Encodes RGB as an item in HEVC. `size` (width, height) replaces the declared one."""
    height, width = pixels.shape[:2]
    configuration, data = _encode_hevc(pixels.tobytes(), width, height, format)
    declared = (ispe(*(size or (width, height))), (b"hvcC", configuration), colour or nclx())
    return HeifItem(b"hvc1", data, (*declared, *properties))


def av1_item(
    pixels: NDArray[np.uint8],
    *properties: Box,
    colour: Box | None = None,
    size: tuple[int, int] | None = None,
) -> HeifItem:
    """Encodes RGB as an item in AV1. `size` (width, height) replaces the declared one."""
    height, width = pixels.shape[:2]
    avif = make("AVIF", pixels, quality=95, subsampling="4:4:4", range="full")
    data = avif[avif.index(b"mdat") + 4 :]
    at = avif.index(b"av1C") + 4
    configuration = avif[at : at + 4]
    pixel_bits = (b"pixi", bytes((0, 0, 0, 0, 3, 8, 8, 8)))
    declared = (ispe(*(size or (width, height))), (b"av1C", configuration), pixel_bits)
    return HeifItem(b"av01", data, (*declared, colour or nclx(), *properties))


@cache
def _encode_hevc(rgb: bytes, width: int, height: int, format: str) -> tuple[bytes, bytes]:
    """Returns the content of `hvcC` and the slices of a still picture in HEVC."""
    stream = _encode(rgb, width, height, format)
    units = [unit for unit in re.split(rb"\0\0\0?\x01", stream) if unit]
    kinds = [unit[0] >> 1 & 63 for unit in units]
    sets = [(kind, unit) for kind, unit in zip(kinds, units, strict=True) if 32 <= kind <= 34]
    [sps] = [unit for kind, unit in sets if kind == 33]
    profile = sps.replace(b"\0\0\3", b"\0\0")[3:15]
    chroma = {"gray": 0, "yuvj420p": 1, "yuv420p10le": 1, "yuvj444p": 3, "yuv444p10le": 3}[format]
    depth = 2 if format.endswith("10le") else 0
    configuration = b"\1" + profile + b"\xf0\0\xfc"
    configuration += bytes((0xFC | chroma, 0xF8 | depth, 0xF8 | depth, 0, 0, 0x0F, len(sets)))
    for kind, unit in sets:
        configuration += struct.pack(">BHH", 0x80 | kind, 1, len(unit)) + unit
    slices = [unit for kind, unit in zip(kinds, units, strict=True) if kind < 32]
    return configuration, b"".join(struct.pack(">I", len(unit)) + unit for unit in slices)


def _encode(rgb: bytes, width: int, height: int, format: str) -> bytes:
    """Encodes a still picture in full range BT.601 as a stream of NAL units."""
    frame = av.VideoFrame.from_ndarray(
        np.frombuffer(rgb, np.uint8).reshape(height, width, 3), format="rgb24"
    )
    full = frame.reformat(format=format, dst_colorspace="ITU601", dst_color_range="JPEG")
    codec: Any = av.CodecContext.create("libx265", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, format, Fraction(1)
    codec.color_range = 2
    parameters = "log-level=none:info=0:frame-threads=1:pools=none"
    codec.options = {"preset": "ultrafast", "crf": "2", "x265-params": parameters}
    return b"".join(bytes(packet) for packet in [*codec.encode(full), *codec.encode(None)])


def heif_file(layout: Layout) -> bytes:
    """Writes a HEIF file: `ftyp`, `meta` and `mdat`."""
    head = box(b"ftyp", layout.brand + bytes(4) + b"mif1miaf" + layout.brand)
    length = len(head) + len(_meta(layout, 0)) + 8
    data = b"".join(item.data for item in layout.items)
    return head + _meta(layout, length) + box(b"mdat", data)


def _meta(layout: Layout, start: int) -> bytes:
    """Returns the `meta` box of a file with data that begins at `start`."""
    items = layout.items
    infe = [
        full_box(b"infe", struct.pack(">HH4s", number, 0, item.kind) + b"\0" + _mime(item), 2)
        for number, item in enumerate(items, 1)
    ]
    references = [
        box(kind, struct.pack(f">HH{len(to)}H", source, len(to), *to))
        for kind, source, to in layout.references
    ]
    return full_box(
        b"meta",
        full_box(b"hdlr", struct.pack(">I4s12x", 0, b"pict") + b"\0")
        + full_box(b"pitm", struct.pack(">H", layout.primary))
        + full_box(b"iinf", struct.pack(">H", len(items)) + b"".join(infe))
        + (full_box(b"iref", b"".join(references)) if references else b"")
        + box(b"iprp", _properties(items))
        + full_box(b"iloc", _locations(items, start)),
    )


def _mime(item: HeifItem) -> bytes:
    return b"application/rdf+xml\0" if item.kind == b"mime" else b""


def _properties(items: Sequence[HeifItem]) -> bytes:
    """Returns `ipco`, with each property once, and `ipma`."""
    declared = list(dict.fromkeys(each for item in items for each in item.properties))
    associations = b""
    for number, item in enumerate(items, 1):
        indices = [
            declared.index(each) + 1 | (0x8000 if each[0] in _ESSENTIAL else 0)
            for each in item.properties
        ]
        associations += struct.pack(f">HB{len(indices)}H", number, len(indices), *indices)
    content = struct.pack(">I", len(items)) + associations
    return box(b"ipco", b"".join(box(*each) for each in declared)) + full_box(
        b"ipma", content, flags=1
    )


_ESSENTIAL = frozenset({b"hvcC", b"av1C", b"irot", b"imir", b"clap"})
"""Properties that a reader must support to show the image."""


def _locations(items: Sequence[HeifItem], start: int) -> bytes:
    content = struct.pack(">BBH", 0x44, 0, len(items))
    for number, item in enumerate(items, 1):
        content += struct.pack(">HHHII", number, 0, 1, start, len(item.data))
        start += len(item.data)
    return content


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def full_box(kind: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags) + content)
