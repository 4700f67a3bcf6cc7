"""Small files of each container that declare far more than they hold.

Those of TIFF, with its directory loop, are in test_tiff.py.
"""

import struct

import pytest

from silhouette_seg.errors import (
    AspectTooExtreme,
    SideTooLong,
    TooManyFrames,
    TooManyPixels,
    UndecodableImage,
)
from silhouette_seg.vision.codec.decode import read_header
from silhouette_seg.vision.codec.header import MAX_SEGMENTS, ImageLimits, check_limits
from tests.support.heif import HeifItem, Layout, av1_item, heif_file, heif_layout, hevc_item, ispe
from tests.support.images import (
    make,
    make_animated,
    make_bomb,
    make_jpeg,
    make_webp,
    person,
)

SMALL = person(48, 64)
TILE = person(64, 64)
MAX_FILE_BYTES = 200_000


def patched(data, at, layout, *values):
    """Returns the file with values in the place of others; `at` is an offset or bytes before it."""
    start = data.index(at) + len(at) if isinstance(at, bytes) else at
    packed = struct.pack(layout, *values)
    return data[:start] + packed + data[start + len(packed) :]


def grid_of_one_tile(encode, brand, rows, columns):
    """Returns a HEIF that shows one tile in every place of a grid."""
    width, height = 64 * columns, 64 * rows
    content = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)
    grid = HeifItem(b"grid", content, (ispe(width, height),))
    tiles = (b"dimg", 1, [2] * (rows * columns))
    return heif_file(Layout([grid, encode(TILE)], [tiles], brand=brand))


def huge_item(encode, brand, side):
    return heif_file(heif_layout(encode(SMALL, size=(side, side)), brand))


def sizes_of_webp(width, height):
    return struct.pack("<I", width - 1 | (height - 1) << 14)


JPEG, LOSSLESS = make_jpeg(SMALL), make_webp(SMALL, lossless=True)
EXTENDED, GIF = make_webp(SMALL, orientation=1), make("GIF", SMALL, mode="P")
GIF_FRAME = b"," + struct.pack("<HHHH", 0, 0, 64, 48)
BMP = make("BMP", SMALL)
BOMBS = {
    "jpeg": (patched(JPEG, b"\xff\xc0\0\x11\x08", ">HH", 65_500, 65_500), SideTooLong),
    "jpeg within the side": (
        patched(JPEG, b"\xff\xc0\0\x11\x08", ">HH", 16_000, 16_000),
        TooManyPixels,
    ),
    "png": (make_bomb(), SideTooLong),
    "png of 2**31 pixels a side": (make_bomb(2**31 - 1, 2**31 - 1), SideTooLong),
    "apng": (make_animated("PNG"), TooManyFrames),
    "webp": (patched(LOSSLESS, 21, "4s", sizes_of_webp(16_384, 16_384)), TooManyPixels),
    "webp with a canvas": (patched(EXTENDED, 24, "6s", b"\xff" * 6), SideTooLong),
    "webp animation": (make_animated("WEBP", frames=100), TooManyFrames),
    "heic": (huge_item(hevc_item, b"heic", 2**31), UndecodableImage),
    "avif": (huge_item(av1_item, b"avif", 2**31), UndecodableImage),
    "heic grid": (grid_of_one_tile(hevc_item, b"heic", 200, 200), UndecodableImage),
    "avif grid": (grid_of_one_tile(av1_item, b"avif", 200, 200), UndecodableImage),
    "heic grid of one row": (grid_of_one_tile(hevc_item, b"heic", 1, 256), AspectTooExtreme),
    "avif animation": (make_animated("AVIF"), TooManyFrames),
    "gif screen": (patched(GIF, 6, "<HH", 65_535, 65_535), SideTooLong),
    "gif frame": (
        patched(GIF, GIF.index(GIF_FRAME) + 1, "<HHHH", 0, 0, 65_535, 65_535),
        SideTooLong,
    ),
    "gif extensions": (GIF[:13] + b"!\xf9\0" * (MAX_SEGMENTS + 1) + GIF[13:], UndecodableImage),
    "bmp": (patched(BMP, 18, "<ii", 2**31 - 1, 2**31 - 1), UndecodableImage),
    "bmp of runs": (
        patched(make("BMP", SMALL, mode="P"), 18, "<iiHHI", 16_000, 16_000, 1, 8, 1),
        TooManyPixels,
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_refused_by_its_header(name):
    bomb, error = BOMBS[name]
    assert len(bomb) < MAX_FILE_BYTES
    with pytest.raises(error):
        check_limits(read_header(bomb), ImageLimits())
