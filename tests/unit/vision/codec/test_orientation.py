"""Orientation in EXIF and XMP of every format, and the composition of orientations."""

import struct
import zlib
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.vision.codec.formats import read_header
from silhouette_seg.vision.codec.orientation import compose
from tests.support.heif import (
    av1_item,
    exif_block,
    heif_file,
    heif_layout,
    hevc_item,
    xmp_packet,
)
from tests.support.images import (
    jpeg_with,
    make,
    make_jpeg,
    make_png,
    make_webp,
    person,
    png_chunk,
    png_with,
    upright,
)

SIGNED_OR_SMALL = {1: "Bxxx", 3: "Hxx", 4: "I", 6: "bxxx", 8: "hxx", 9: "i"}
"""TIFF type of each integer -> its four bytes in a tag."""


@pytest.mark.parametrize("kind", sorted(SIGNED_OR_SMALL))
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_of_any_integer_type_is_read(order, kind):
    mark = b"II" if order == "<" else b"MM"
    layout = f"{order}HIHHHI{SIGNED_OR_SMALL[kind]}I"
    exif = b"Exif\0\0" + mark + struct.pack(layout, 42, 8, 1, 0x0112, kind, 1, 6, 0)
    for name in ("JPEG", "PNG", "WEBP"):
        assert read_header(make(name, person(8, 8), exif=exif)).orientation == 6, name
    for item, brand in ((hevc_item, b"heic"), (av1_item, b"avif")):
        image = heif_file(heif_layout(item(person(64, 64)), brand, exif))
        assert read_header(image).orientation == 6, brand


def xmp_jpeg(xmp, *, exif=b""):
    segments = [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)]
    if exif:
        segments.append((0xE1, b"Exif\0\0" + exif))
    return jpeg_with(make_jpeg(person(8, 8)), *segments)


def xmp_png(xmp, *, exif=b"", compressed=False):
    text = zlib.compress(xmp) if compressed else xmp
    chunk = b"XML:com.adobe.xmp\0" + bytes([compressed, 0, 0, 0]) + text
    chunks = [(b"iTXt", chunk), *([(b"eXIf", exif)] if exif else [])]
    return png_with(make_png(person(8, 8)), *chunks)


def xmp_webp(xmp, *, exif=b""):
    return make_webp(person(8, 8), xmp=xmp, **({"exif": exif} if exif else {}))


XMP_WRITERS = [xmp_jpeg, xmp_png, partial(xmp_png, compressed=True), xmp_webp]


@pytest.mark.parametrize("write", XMP_WRITERS)
@pytest.mark.parametrize("element", [False, True])
def test_orientation_of_xmp_is_read(write, element):
    assert read_header(write(xmp_packet(8, element=element))).orientation == 8


@pytest.mark.parametrize("write", XMP_WRITERS)
@pytest.mark.parametrize(("exif", "expected"), [(3, 3), (1, 1), (0, 8), (9, 8)])
def test_valid_orientation_of_exif_precedes_xmp(write, exif, expected):
    image = write(xmp_packet(8), exif=exif_block(exif))
    assert read_header(image).orientation == expected


@pytest.mark.parametrize("chunk", [b"", b"\1", b"\1\0\0\0not zlib", b"\0\0no end"])
def test_malformed_xmp_of_png_is_ignored(chunk):
    png = png_with(make_png(person(8, 8)), (b"iTXt", b"XML:com.adobe.xmp\0" + chunk))
    assert read_header(png).orientation == 1


@given(st.lists(st.sampled_from(range(1, 9)), max_size=4))
def test_composed_orientation_has_the_effect_of_all(orientations):
    image = np.arange(6).reshape(2, 3)
    turned = image
    for orientation in orientations:
        turned = upright(turned, orientation)
    np.testing.assert_array_equal(upright(image, compose(orientations)), turned)


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_either_byte_order(order):
    mark = b"II" if order == "<" else b"MM"
    tiff = mark + struct.pack(order + "HIH" + "HHIHH", 42, 8, 1, 0x0112, 3, 1, 5, 0)
    png = make_png(person(8, 8))
    assert read_header(png[:33] + png_chunk(b"eXIf", tiff) + png[33:]).orientation == 5


def test_orientation_out_of_range_is_upright():
    tiff = b"MM" + struct.pack(">HIHHHIHH", 42, 8, 1, 0x0112, 3, 1, 9, 0)
    png = make_png(person(8, 8))
    assert read_header(png[:33] + png_chunk(b"eXIf", tiff) + png[33:]).orientation == 1


@given(st.binary(max_size=64))
def test_orientation_of_broken_exif_block_is_valid(block):
    png = make_png(person(8, 8))
    header = read_header(png[:33] + png_chunk(b"eXIf", block) + png[33:])
    assert header.orientation in range(1, 9)
