"""TIFF: codings, orientation, colour, and directories that would exhaust a decoder."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from silhouette_seg.errors import UndecodableImage, UnsupportedImageType
from silhouette_seg.vision.codec.decode import decode, read_header
from tests.support.heif import xmp_packet
from tests.support.images import make, person, quadrants, rgb_profile, stored

PHOTO = person(48, 64)
ALPHA = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
FLAT = (PHOTO * (ALPHA[..., None] / 255) + 255 - ALPHA[..., None]).round()


def decoded(data):
    return decode(data, read_header(data))


def difference(data, expected):
    rgb = decoded(data).rgb
    assert rgb.shape == (*expected.shape[:2], 3)
    return np.abs(rgb.astype(int) - expected).max()


def write(pixels, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def tag(number, kind, *values):
    """Returns the twelve bytes of a tag with values in place."""
    content = struct.pack(f"<{len(values)}{kind}", *values).ljust(4, b"\0")
    return struct.pack("<HHI", number, {"H": 3, "I": 4}[kind], len(values)) + content[:4]


def tiff_file(*tags, data=b""):
    """Returns a TIFF of these tags; `data` begins at byte 8."""
    directory = struct.pack("<H", len(tags)) + b"".join(sorted(tags)) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def plain_tags(width=2, height=2, *, offset=8, size=12):
    return {
        256: tag(256, "I", width), 257: tag(257, "I", height), 258: tag(258, "H", 8),
        259: tag(259, "H", 1), 262: tag(262, "H", 2), 273: tag(273, "I", offset),
        277: tag(277, "H", 3), 278: tag(278, "I", height), 279: tag(279, "I", size),
    }  # fmt: skip


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_tiff_of_every_lossless_coding_is_exact(compression, mode):
    if compression == "raw" or mode != "1":
        expected = Image.fromarray(PHOTO)
        expected = expected.quantize(64) if mode == "P" else expected.convert(mode)
        tiff = make("TIFF", expected, compression=compression)
        assert difference(tiff, np.asarray(expected.convert("RGB"))) == 0


def test_tiff_of_jpeg_is_decoded():
    rgb = decoded(make("TIFF", PHOTO, compression="jpeg")).rgb
    assert np.abs(rgb.astype(int) - PHOTO).mean() < 6


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 32)}, {"rowsperstrip": 5}])
def test_tiff_of_16_bits_becomes_8(order, options):
    deep = PHOTO.astype(np.uint16) * 257
    assert difference(write(deep, photometric="rgb", byteorder=order, **options), PHOTO) == 0
    grey = write(deep[..., 0], photometric="minisblack", byteorder=order, **options)
    assert difference(grey, np.dstack([PHOTO[..., 0]] * 3)) == 0


def test_tiff_of_separate_planes_is_joined():
    planes = np.moveaxis(PHOTO, 2, 0).copy()
    assert difference(write(planes, photometric="rgb", planarconfig="separate"), PHOTO) == 0


def test_white_is_zero_tiff_is_inverted():
    grey = PHOTO[..., 0]
    assert difference(write(255 - grey, photometric="miniswhite"), np.dstack([grey] * 3)) == 0


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_transparent_tiff_is_flattened_on_white(kind):
    share = ALPHA[..., None] / 255
    colours = PHOTO if kind == "unassalpha" else np.round(PHOTO * share).astype(np.uint8)
    rgba = np.dstack([colours, ALPHA])
    assert difference(write(rgba, photometric="rgb", extrasamples=[kind]), FLAT) <= 2


def test_cmyk_tiff_becomes_rgb():
    cmyk = Image.fromarray(PHOTO).convert("CMYK")
    assert difference(make("TIFF", cmyk), np.asarray(cmyk.convert("RGB"))) <= 1


def test_profile_of_tiff_is_applied():
    frame = decoded(make("TIFF", PHOTO, icc_profile=rgb_profile("Display P3")))
    assert str(frame.colour) == "converted:Display P3"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_xmp_turns_a_tiff_without_orientation(orientation):
    packet = (700, 1, len(xmp_packet(1)), xmp_packet(orientation), True)
    tiff = write(stored(quadrants(), orientation), photometric="rgb", extratags=[packet])
    assert difference(tiff, quadrants()) == 0


def test_first_page_of_tiff_is_decoded():
    pages = np.stack([PHOTO, PHOTO[::-1]])
    assert difference(write(pages, photometric="rgb"), PHOTO) == 0


def test_directory_loop_of_tiff_is_not_followed():
    tiff = bytearray(make("TIFF", PHOTO))
    start = struct.unpack_from("<I", tiff, 4)[0]
    count = struct.unpack_from("<H", tiff, start)[0]
    struct.pack_into("<I", tiff, start + 2 + 12 * count, start)
    assert difference(bytes(tiff), PHOTO) == 0


def test_made_tiff_is_valid():
    """The malformed ones below differ from it in one tag each."""
    data = bytes(range(12))
    tiff = tiff_file(*plain_tags().values(), data=data)
    assert decoded(tiff).rgb.tobytes() == data


@pytest.mark.parametrize(
    ("number", "entry"),
    [
        (256, tag(256, "I", 2**31)),
        (257, tag(257, "I", 2**31)),
        (273, tag(273, "I", 10**6)),
        (279, tag(279, "I", 11)),
        (279, tag(279, "I", 10**6)),
        (277, struct.pack("<HHII", 277, 3, 100, 8)),
        (278, tag(278, "I", 1)),
        (278, tag(278, "I", 0)),
        (273, struct.pack("<HHII", 273, 4, 2**30, 8)),
        (320, struct.pack("<HHII", 320, 3, 10**6, 8)),
    ],
)
def test_malformed_tag_of_tiff_is_undecodable(number, entry):
    tags = {**plain_tags(), number: entry}
    with pytest.raises(UndecodableImage):
        read_header(tiff_file(*tags.values(), data=bytes(12)))


def test_huge_tile_of_small_tiff_is_undecodable():
    tags = plain_tags()
    for number in (273, 278, 279):
        del tags[number]
    tiles = [tag(322, "I", 16), tag(323, "I", 16), tag(324, "I", 8), tag(325, "I", 12)]
    assert read_header(tiff_file(*tags.values(), *tiles, data=bytes(12))).upright_hw == (2, 2)
    tiles[:2] = [tag(322, "I", 2**15), tag(323, "I", 2**15)]
    with pytest.raises(UndecodableImage):
        read_header(tiff_file(*tags.values(), *tiles, data=bytes(12)))


@pytest.mark.parametrize(
    ("number", "entry"),
    [
        (259, tag(259, "H", 6)),
        (259, tag(259, "H", 4)),
        (262, tag(262, "H", 8)),
        (262, tag(262, "H", 32_803)),
        (258, tag(258, "H", 32)),
        (339, tag(339, "H", 3)),
        (254, tag(254, "I", 1)),
    ],
    ids=["old JPEG", "fax", "Lab", "raw sensor", "32 bits", "float", "preview"],
)
def test_tiff_that_is_no_plain_photo_is_unsupported(number, entry):
    tags = {**plain_tags(), number: entry}
    with pytest.raises(UnsupportedImageType):
        read_header(tiff_file(*tags.values(), data=bytes(12)))


def test_metadata_of_tiff_is_not_passed_to_its_decoder():
    """Each of 60,000 tags refers to the whole file, which a decoder would copy each time."""
    tags = plain_tags()
    data = bytes(10**5)
    flood = [struct.pack("<HHII", 40_000 + n % 20_000, 1, len(data), 8) for n in range(60_000)]
    assert decoded(tiff_file(*tags.values(), *flood, data=data)).rgb.shape == (2, 2, 3)
