"""Reads the header of HEIF files: HEIC, coded in HEVC, and AVIF, coded in AV1.

The image is the file's primary item: one coded image, or a grid of tiles. Thumbnails, depth maps,
gain maps and further images are not read. Source: ISO/IEC 23008-12 (HEIF) and 23000-22 (MIAF).
"""

import struct
from contextlib import suppress
from fractions import Fraction

from silhouette_seg.errors import UndecodableImage, UnsupportedImageType
from silhouette_seg.vision.codec.colour_tag import (
    UNTAGGED,
    ColourTag,
    nclx_colour_tag,
    profile_tag,
)
from silhouette_seg.vision.codec.formats.bitstreams import av1_sizes, hevc_sizes
from silhouette_seg.vision.codec.formats.heif_boxes import Meta, boxes, read_meta
from silhouette_seg.vision.codec.header import Crop, EmbeddedMetadata, ImageHeader, InputFormat
from silhouette_seg.vision.codec.orientation import compose, select_orientation
from silhouette_seg.vision.geometry import Size

MAX_CODED_MARGIN = 128
"""Largest difference between a side of an item and of its coded picture, in pixels.

Encoders round sides up to whole blocks of 8 to 128 pixels.
"""

_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1", b"miaf"}
    | {b"avif", b"avis"}
)
_ANIMATION = b"avis"
_FORMATS = {b"hvc1": InputFormat.HEIC, b"hev1": InputFormat.HEIC, b"av01": InputFormat.AVIF}
"""Type of an item that is a coded image -> format of the file."""
_ALPHA = frozenset({b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"})
_QUARTER_TURNS = (1, 8, 3, 6)
"""Orientation for each number of quarter turns, anticlockwise, of an `irot` property."""
_MIRRORS = (4, 2)
"""Orientation for each axis of an `imir` property: top and bottom exchanged, or left and right."""


def is_heif(view: memoryview) -> bool:
    """Returns whether a file that begins with an `ftyp` box is a HEIF file."""
    size = int.from_bytes(view[:4])
    brands = bytes(view[8 : min(size, 1_000)])
    return any(brands[at : at + 4] in _BRANDS for at in range(0, len(brands), 4) if at != 4)


def parse_heif(view: memoryview) -> ImageHeader:
    """Reads the header of a HEIF file.

    Raises UnsupportedImageType if its primary item is neither HEVC nor AV1, and UndecodableImage,
    struct.error or IndexError if the header is malformed.
    """
    top = _top_boxes(view)
    if b"meta" not in top:
        raise UndecodableImage("The HEIF holds no still image.")
    meta = read_meta(view, top[b"meta"])
    primary = meta.primary
    if primary is None or primary not in meta.kinds:
        raise UndecodableImage("The HEIF names no primary image.")
    format = _find_format(meta, primary)
    if format is InputFormat.HEIC and not meta.is_text_valid:  # the decoder trusts these texts
        raise UndecodableImage("The HEIF has an item with a text that is not UTF-8.")
    height, width = _check_image(meta, primary, format)
    crop, turns = _transforms(meta, primary, (height, width))
    for alpha in _alpha_items(meta, primary):
        if _check_image(meta, alpha, format) != (height, width):
            raise UndecodableImage("The alpha of the HEIF has another size than its image.")
        # libheif turns each by its own properties; libavif turns neither.
        own = _transforms(meta, alpha, (height, width))
        if format is InputFormat.HEIC and own != (crop, turns):
            raise UndecodableImage("The alpha of the HEIF is turned in another way than its image.")
    metadata = EmbeddedMetadata()
    # Files of some writers have turns and a damaged EXIF block, which then is not needed.
    with suppress(*((UndecodableImage, struct.error, IndexError) if turns else ())):
        metadata = _metadata(meta, primary)
    return ImageHeader(
        format,
        width,
        height,
        compose(turns) if turns else select_orientation(metadata.exif, metadata.xmp),
        _count_frames(top, format),
        _colour_tag(meta, primary),
        crop=crop,
        decodes_upright=format is InputFormat.HEIC and bool(turns),
        metadata=metadata,
    )


def _top_boxes(view: memoryview) -> dict[bytes, memoryview]:
    """Returns the first box of each type at the top of a file.

    A trailer behind the `meta` box that is no box is left out, as viewers do. The data of the image
    is checked where it is read.
    """
    top: dict[bytes, memoryview] = {}
    try:
        for kind, content in boxes(view):
            top.setdefault(kind, content)
    except (UndecodableImage, struct.error):
        if b"meta" not in top:
            raise
    return top


def _find_format(meta: Meta, item: int) -> InputFormat:
    """Returns the format of an item, which may be a grid.

    Raises UnsupportedImageType for an item of another type.
    """
    kind = meta.kinds[item]
    if kind == b"grid":
        tiles = meta.targets(item, b"dimg")
        kind = meta.kinds.get(tiles[0], b"") if tiles else b""
    if kind not in _FORMATS:
        name = str(kind, "latin-1") if kind.isalnum() else "unknown"
        raise UnsupportedImageType(f"HEIF images must be coded in HEVC or AV1; this one is {name}.")
    return _FORMATS[kind]


def _count_frames(top: dict[bytes, memoryview], format: InputFormat) -> int:
    """Returns the number of frames: more than 1 for an AVIF that is mainly an animation.

    The primary image of a HEIC sequence, such as a burst, is a still image.
    """
    is_animated = format is InputFormat.AVIF and bytes(top[b"ftyp"][:4]) == _ANIMATION
    if not is_animated or b"moov" not in top:
        return 1
    return max([2, *_sample_counts(top[b"moov"])])


def _sample_counts(moov: memoryview) -> list[int]:
    """Returns the number of samples of each track."""
    views = [moov]
    for kind in (b"trak", b"mdia", b"minf", b"stbl", b"stsz"):
        views = [content for view in views for each, content in boxes(view) if each == kind]
    return [int.from_bytes(view[8:12]) for view in views]


def _alpha_items(meta: Meta, item: int) -> list[int]:
    return [
        source
        for source in meta.sources(item, b"auxl")
        if source in meta.kinds
        and (kind := meta.property(source, b"auxC")) is not None
        and bytes(kind[4:]).partition(b"\0")[0] in _ALPHA
    ]


def _check_image(meta: Meta, item: int, format: InputFormat) -> Size:
    """Returns the (height, width) of an item, a coded image or a grid, after checking its parts.

    Raises UndecodableImage if the tiles do not form the grid, or if coded data declares a picture
    of another size.
    """
    if meta.kinds[item] != b"grid":
        return _check_coded(meta, item, format)
    tiles = meta.targets(item, b"dimg")
    height, width = _item_size(meta, item)
    content = meta.data(item)
    rows, columns = content[2] + 1, content[3] + 1
    grid_width, grid_height = struct.unpack_from(">II" if content[1] & 1 else ">HH", content, 4)
    sizes = {_check_coded(meta, tile, format) for tile in dict.fromkeys(tiles)}
    if len(tiles) != rows * columns or len(sizes) != 1:
        raise UndecodableImage("The tiles of the HEIF do not form its grid.")
    [(tile_height, tile_width)] = sizes
    is_covered = (rows - 1) * tile_height < height <= rows * tile_height
    is_covered &= (columns - 1) * tile_width < width <= columns * tile_width
    if (grid_height, grid_width) != (height, width) or not is_covered:
        raise UndecodableImage("The tiles of the HEIF do not form its grid.")
    return height, width


def _check_coded(meta: Meta, item: int, format: InputFormat) -> Size:
    if _FORMATS.get(meta.kinds.get(item, b"")) is not format:
        raise UndecodableImage("The HEIF has images of several codings, or one is missing.")
    height, width = _item_size(meta, item)
    data = meta.data(item)
    if format is InputFormat.AVIF:
        coded = list(av1_sizes(data))
    else:
        configuration = meta.property(item, b"hvcC")
        coded = [] if configuration is None else list(hevc_sizes(configuration, data))
    if not coded or not all(_is_near(size, (height, width)) for size in coded):
        raise UndecodableImage("The HEIF declares two sizes.")
    return height, width


def _is_near(coded: Size, declared: Size) -> bool:
    pairs = zip(coded, declared, strict=True)
    return all(0 <= one - other <= MAX_CODED_MARGIN for one, other in pairs)


def _item_size(meta: Meta, item: int) -> Size:
    extent = meta.property(item, b"ispe")
    if extent is None:
        raise UndecodableImage("The HEIF does not declare the size of an image.")
    width, height = struct.unpack_from(">II", extent, 4)
    return height, width


def _transforms(meta: Meta, item: int, size: Size) -> tuple[Crop | None, list[int]]:
    """Returns the crop of an item, and the orientations of its rotations and mirrors, in order.

    Raises UndecodableImage for a crop behind a rotation or mirror, which MIAF does not allow.
    """
    crop: Crop | None = None
    turns: list[int] = []
    for kind, content in meta.properties[item]:
        if kind == b"irot":
            turns.append(_QUARTER_TURNS[content[0] & 3])
        elif kind == b"imir":
            turns.append(_MIRRORS[content[0] & 1])
        elif kind == b"clap":
            if turns or crop:
                raise UndecodableImage("The HEIF is cropped after a rotation, or twice.")
            crop = _clean_aperture(content, size)
    return crop, turns


def _clean_aperture(content: memoryview, size: Size) -> Crop:
    """Returns the crop of a `clap` property, of an image of (height, width).

    Raises UndecodableImage if it has no whole pixels or exceeds the image.
    """
    numbers = struct.unpack_from(">IIIIiIiI", content)
    if not all(numbers[1::2]):
        raise UndecodableImage("The clean aperture of the HEIF is not valid.")
    width, height, x, y = map(Fraction, numbers[::2], numbers[1::2])
    left, top = (size[1] - width) / 2 + x, (size[0] - height) / 2 + y
    parts = (left, top, width, height)
    is_inside = min(left, top) >= 0 and left + width <= size[1] and top + height <= size[0]
    if not is_inside or any(part.denominator != 1 for part in parts) or not min(width, height):
        raise UndecodableImage("The clean aperture of the HEIF is not valid.")
    return Crop(*map(int, parts))


def _metadata(meta: Meta, item: int) -> EmbeddedMetadata:
    """Returns the EXIF block and the XMP packet of an item."""
    exif = xmp = None
    for source in meta.sources(item, b"cdsc"):
        if meta.kinds.get(source) == b"Exif" and exif is None:
            content = meta.data(source)
            exif = content[4 + int.from_bytes(content[:4]) :]
        elif meta.kinds.get(source) == b"mime" and xmp is None:
            xmp = meta.data(source)
    return EmbeddedMetadata(exif, xmp)


def _colour_tag(meta: Meta, item: int) -> ColourTag:
    """Returns the colour tag of an item. An ICC profile takes precedence over code points."""
    colours = [content for kind, content in meta.properties[item] if kind == b"colr"]
    for content in colours:
        if bytes(content[:4]) in (b"prof", b"rICC"):
            return profile_tag(content[4:])
    for content in colours:
        if bytes(content[:4]) == b"nclx":
            return nclx_colour_tag(content[4:])
    return UNTAGGED
