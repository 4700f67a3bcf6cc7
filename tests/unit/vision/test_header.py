import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import (
    AspectTooExtreme,
    ServiceError,
    SideTooLong,
    TooManyFrames,
    TooManyPixels,
    UndecodableImage,
    UnsupportedImageType,
)
from service.vision.header import (
    MAX_PARTS,
    ImageFormat,
    ImageHeader,
    ImageLimits,
    check_limits,
    read_header,
)
from tests.images import (
    TEXT,
    make,
    make_animated,
    make_bomb,
    make_gif,
    make_jpeg,
    make_png,
    make_webp,
    person,
    png_chunk,
    seeds,
)

FORMATS = ["JPEG", "PNG", "WEBP"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 33), (40, 7), (120, 300)])
def test_size_as_stored(format, height, width):
    header = read_header(make(format, person(height, width)))
    assert (header.format.value.upper(), header.height, header.width) == (format, height, width)
    assert (header.orientation, header.frames, header.pixels) == (1, 1, height * width)


def test_media_types():
    assert [format.media_type for format in ImageFormat] == [
        "image/jpeg",
        "image/png",
        "image/webp",
    ]


def test_size_of_lossless_and_extended_webp():
    lossless = read_header(make_webp(person(50, 70), lossless=True))
    extended = read_header(make_webp(person(50, 70), orientation=1))
    assert lossless.upright_hw == extended.upright_hw == (50, 70)


def test_size_of_progressive_jpeg():
    assert read_header(make_jpeg(person(50, 70), progressive=True)).upright_hw == (50, 70)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_the_upright_size(format, orientation):
    header = read_header(make(format, person(40, 64), orientation=orientation))
    assert header.orientation == orientation
    assert header.upright_hw == ((64, 40) if orientation >= 5 else (40, 64))


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_in_either_byte_order(order):
    mark = b"II" if order == "<" else b"MM"
    tiff = mark + struct.pack(order + "HIH" + "HHIHH", 42, 8, 1, 0x0112, 3, 1, 5, 0)
    png = make_png(person(8, 8))
    assert read_header(png[:33] + png_chunk(b"eXIf", tiff) + png[33:]).orientation == 5


def test_orientation_out_of_range_is_upright():
    tiff = b"MM" + struct.pack(">HIHHHIHH", 42, 8, 1, 0x0112, 3, 1, 9, 0)
    png = make_png(person(8, 8))
    assert read_header(png[:33] + png_chunk(b"eXIf", tiff) + png[33:]).orientation == 1


@given(st.binary(max_size=64))
def test_orientation_in_a_broken_exif_block_is_upright_or_valid(block):
    png = make_png(person(8, 8))
    header = read_header(png[:33] + png_chunk(b"eXIf", block) + png[33:])
    assert header.orientation in range(1, 9)


@pytest.mark.parametrize("format", ["WEBP", "PNG"])
def test_frames_of_an_animation(format):
    header = read_header(make_animated(format, frames=3))
    assert header.frames == 3
    with pytest.raises(TooManyFrames) as refused:
        check_limits(header, ImageLimits())
    assert (refused.value.limit, refused.value.actual) == (1, 3)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", TEXT, make_gif(), b"RIFF\0\0\0\0WAVEfmt "])
def test_other_types_are_unsupported(data):
    with pytest.raises(UnsupportedImageType):
        read_header(data)


def test_memoryview_is_read_like_bytes():
    jpeg = make_jpeg(person(40, 64), orientation=6)
    assert read_header(memoryview(jpeg)) == read_header(jpeg)


def test_bomb_is_refused_from_its_header():
    header = read_header(make_bomb(50_000, 50_000))
    assert header.pixels == 2_500_000_000
    with pytest.raises(SideTooLong) as refused:
        check_limits(header, ImageLimits())
    assert (refused.value.limit, refused.value.actual) == (16_384, 50_000)


def test_limits_are_inclusive():
    limits = ImageLimits(pixels=5_000, side=100, aspect=2)
    check_limits(ImageHeader(ImageFormat.PNG, 100, 50), limits)


@pytest.mark.parametrize(
    ("width", "height", "error", "limit", "actual"),
    [
        (101, 51, SideTooLong, 100, 101),
        (80, 70, TooManyPixels, 5_000, 5_600),
        (100, 40, AspectTooExtreme, 2, 2.5),
        (40, 100, AspectTooExtreme, 2, 2.5),
    ],
)
def test_limits_say_what_was_hit(width, height, error, limit, actual):
    limits = ImageLimits(pixels=5_000, side=100, aspect=2)
    with pytest.raises(error) as refused:
        check_limits(ImageHeader(ImageFormat.PNG, width, height), limits)
    assert (refused.value.limit, refused.value.actual) == (limit, actual)


def test_png_without_pixels_is_undecodable():
    with pytest.raises(UndecodableImage):
        read_header(make_bomb(0, 10))


def test_png_with_endless_chunks_is_undecodable():
    png = make_png(person(8, 8))
    flood = png[:33] + png_chunk(b"tEXt", b"") * (MAX_PARTS + 1) + png[33:]
    with pytest.raises(UndecodableImage):
        read_header(flood)


def test_webp_with_endless_chunks_is_undecodable():
    webp = make_webp(person(8, 8), orientation=1)
    flood = webp[:30] + (b"JUNK" + bytes(4)) * (MAX_PARTS + 1) + webp[30:]
    with pytest.raises(UndecodableImage):
        read_header(b"RIFF" + struct.pack("<I", len(flood) - 8) + flood[8:])


def test_webp_without_a_key_frame_is_undecodable():
    webp = make_webp(person(8, 8))
    assert webp[23:26] == b"\x9d\x01\x2a"
    with pytest.raises(UndecodableImage):
        read_header(webp[:23] + bytes(3) + webp[26:])


def test_jpeg_of_fill_bytes_is_undecodable():
    with pytest.raises(UndecodableImage):
        read_header(b"\xff\xd8" + b"\xff" * 100_000)


def test_jpeg_that_declares_two_frames_is_undecodable():
    jpeg = make_jpeg(person(8, 8))
    at = jpeg.index(b"\xff\xc0")
    frame = jpeg[at : at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])]
    with pytest.raises(UndecodableImage):
        read_header(jpeg[:at] + frame + jpeg[at:])


@pytest.mark.parametrize("name", sorted(seeds()))
def test_header_cut_anywhere_raises_only_service_errors(name):
    whole = seeds()[name]
    for length in range(min(len(whole), 1_500)):
        try:
            header = read_header(whole[:length])
        except ServiceError:
            continue
        assert header.width > 0
        assert header.height > 0


@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\xff\0\0\0WEBPVP8X", b""]),
    st.binary(max_size=300),
)
def test_header_of_any_bytes_raises_only_service_errors(start, rest):
    try:
        header = read_header(start + rest)
    except ServiceError:
        return
    assert header.width > 0
    assert header.height > 0
