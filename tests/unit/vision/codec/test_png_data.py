"""Checks the bound on the decompressed data of a PNG, with incompressible pixels."""

import random
import zlib

import numpy as np
import pytest

from silhouette_seg.errors import UndecodableImage
from silhouette_seg.vision.codec.decode import decode, read_header
from silhouette_seg.vision.codec.png_data import MAX_UNCHECKED_BYTES, check_png_data
from tests.support.damage import ADAM7, with_valid_checksums
from tests.support.images import png_file

KINDS = [
    *((depth, 0) for depth in (1, 2, 4, 8, 16)),
    *((depth, 3) for depth in (1, 2, 4, 8)),
    *((depth, kind) for depth in (8, 16) for kind in (2, 4, 6)),
]
"""Depth and colour type of every kind of PNG."""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
WIDTH, HEIGHT = 1203, 801


def rows_of(depth: int, colour_type: int) -> bytes:
    row_bytes = -(-WIDTH * depth * CHANNELS[colour_type] // 8)
    source = random.Random(1)
    return b"".join(b"\0" + source.randbytes(row_bytes) for _ in range(HEIGHT))


@pytest.mark.parametrize(("depth", "colour_type"), KINDS)
def test_surplus_byte_of_any_kind_of_png_is_refused(depth, colour_type):
    rows = rows_of(depth, colour_type)
    exact, surplus = (
        png_file(WIDTH, HEIGHT, depth, colour_type, zlib.compress(data, 1))
        for data in (rows, rows + b"\0")
    )
    check_png_data(exact)
    with pytest.raises(UndecodableImage, match="more data") as refused:
        check_png_data(surplus)
    assert refused.value.limit == len(rows)


@pytest.mark.parametrize(("width", "height"), [(401, 307), (3, 40_000), (40_000, 1)])
def test_surplus_byte_of_interlaced_png_is_refused(width, height):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    passes = [pixels[top::down, left::right] for left, top, right, down in ADAM7]
    rows = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    files = []
    for data in (rows, rows + b"\0"):
        file = bytearray(png_file(width, height, 8, 2, zlib.compress(data, 1)))
        file[28] = 1
        files.append(with_valid_checksums(bytes(file)))
    check_png_data(files[0])
    with pytest.raises(UndecodableImage, match="more data"):
        check_png_data(files[1])


def test_photo_with_surplus_data_is_undecodable():
    png = png_file(80, 64, 8, 2, zlib.compress(bytes(64 * 241 + 100_000_000)))
    assert len(png) > MAX_UNCHECKED_BYTES
    with pytest.raises(UndecodableImage, match="more data"):
        decode(png, read_header(png))


def test_damaged_data_is_left_to_the_decoder():
    data = bytearray(zlib.compress(rows_of(8, 2), 1))
    data[70_000:70_010] = bytes(10)
    check_png_data(png_file(WIDTH, HEIGHT, 8, 2, bytes(data)))
