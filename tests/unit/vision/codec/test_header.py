import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from silhouette_seg.errors import (
    AspectTooExtreme,
    ServiceError,
    SideTooLong,
    TooManyFrames,
    TooManyPixels,
    UndecodableImage,
    UnsupportedImageType,
)
from silhouette_seg.vision.codec.colour_tag import MAX_PROFILE_BYTES, UNTAGGED, ColourTag
from silhouette_seg.vision.codec.header import (
    MAX_SEGMENTS,
    ImageFormat,
    ImageHeader,
    ImageLimits,
    check_limits,
    count_scans,
    read_header,
)
from tests.support.images import (
    TEXT,
    jpeg_segment,
    jpeg_with,
    make,
    make_animated,
    make_bomb,
    make_gif,
    make_jpeg,
    make_motion_photo,
    make_png,
    make_webp,
    person,
    png_chunk,
    png_file,
    png_with,
    rgb_profile,
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
    flood = png[:33] + png_chunk(b"tEXt", b"") * (MAX_SEGMENTS + 1) + png[33:]
    with pytest.raises(UndecodableImage):
        read_header(flood)


def test_webp_with_endless_chunks_is_undecodable():
    webp = make_webp(person(8, 8), orientation=1)
    flood = webp[:30] + (b"JUNK" + bytes(4)) * (MAX_SEGMENTS + 1) + webp[30:]
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


SOI, APP1 = 0xD8, 0xE1
BASELINE = make_jpeg(person(64, 64))
PROGRESSIVE = make_jpeg(person(64, 64), progressive=True)
PROGRESSIVE_SCANS = 10
"""Of the script that libjpeg writes for colour pictures (`jpeg_simple_progression`)."""


@pytest.mark.parametrize(("jpeg", "scans"), [(BASELINE, 1), (PROGRESSIVE, PROGRESSIVE_SCANS)])
def test_scans_of_a_plain_jpeg_are_counted(jpeg, scans):
    assert count_scans(jpeg) == count_scans(memoryview(jpeg)) == scans


def test_scans_in_a_motion_photo_are_not_counted():
    photo = make_motion_photo(scans=200)
    assert photo.count(b"\xff\xda") > 200
    assert count_scans(photo) == 1


def test_scans_of_further_mpo_pictures_are_not_counted():
    first, second = Image.open(io.BytesIO(PROGRESSIVE)), Image.open(io.BytesIO(BASELINE))
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second] * 60)
    mpo = buffer.getvalue()
    assert mpo.count(b"\xff\xda") == 61
    assert count_scans(mpo) == 1
    assert read_header(mpo).upright_hw == (64, 64)


def test_scans_of_a_thumbnail_are_not_counted():
    photo = jpeg_with(BASELINE, (APP1, b"Exif\0\0" + PROGRESSIVE))
    assert count_scans(photo) == 1


def test_scans_in_a_payload_between_scans_are_not_counted():
    last = PROGRESSIVE.rindex(b"\xff\xda")
    embedded = jpeg_segment(0xFE, BASELINE)
    photo = PROGRESSIVE[:last] + embedded + PROGRESSIVE[last:]
    assert count_scans(photo) == PROGRESSIVE_SCANS


def test_scans_across_restart_markers_are_counted():
    jpeg = make_jpeg(person(64, 64), restart_marker_blocks=1)
    assert jpeg.count(b"\xff\xd0") > 1
    assert count_scans(jpeg + b"\xff\xda" * 60) == 1


@pytest.mark.parametrize("entropy", [b"\xff\0\xda", b"\xff\xff\0\xda", b"\xff\xd3\xda"])
def test_stuffed_bytes_in_a_scan_are_no_scan(entropy):
    assert count_scans(BASELINE[:-2] + entropy * 60 + BASELINE[-2:]) == 1


@pytest.mark.parametrize("fill", [b"", b"\xff", b"\xff" * 70_000, b"\0" * 65_535, b"\0" * 65_536])
def test_scan_behind_fill_bytes_is_counted(fill):
    scan = BASELINE[BASELINE.index(b"\xff\xda") : -2]
    assert count_scans(BASELINE[:-2] + fill + scan + BASELINE[-2:]) == 2


@pytest.mark.parametrize("jpeg", [BASELINE, PROGRESSIVE])
def test_scans_without_eoi_are_counted(jpeg):
    assert count_scans(jpeg[:-2]) == count_scans(jpeg)
    assert count_scans(jpeg[:-2] + b"\xff\xda" * 3) == count_scans(jpeg) + 1


@pytest.mark.parametrize("marker", [0x01, 0x02, 0xBF, 0xD0, SOI, 0xDE, 0xF0, 0xFD])
def test_scan_behind_a_marker_without_length_is_counted(marker):
    """libjpeg reads no length there, so a scan cannot hide in such a payload."""
    scan = BASELINE[BASELINE.index(b"\xff\xda") : -2]
    hidden = bytes((0xFF, marker)) + struct.pack(">H", len(scan) + 2) + scan
    assert count_scans(BASELINE[:-2] + hidden + BASELINE[-2:]) == 2


def test_scan_behind_a_length_below_two_is_counted():
    scan = BASELINE[BASELINE.index(b"\xff\xda") : -2]
    assert count_scans(BASELINE[:-2] + b"\xff\xfe\0\0" + scan + BASELINE[-2:]) == 2


def test_jpeg_with_endless_segments_behind_a_scan_is_undecodable():
    flood = BASELINE[:-2] + jpeg_segment(0xFE, b"") * MAX_SEGMENTS + BASELINE[-2:]
    with pytest.raises(UndecodableImage) as refused:
        count_scans(flood)
    assert refused.value.limit == MAX_SEGMENTS


@given(st.sampled_from([BASELINE, PROGRESSIVE]), st.binary(max_size=300))
def test_bytes_behind_eoi_change_nothing(jpeg, rest):
    assert read_header(jpeg + rest) == read_header(jpeg)
    assert count_scans(jpeg + rest) == count_scans(jpeg)


@given(st.binary(max_size=300))
def test_count_of_scans_takes_any_bytes(rest):
    assert 0 <= count_scans(b"\xff\xd8" + rest) <= len(rest) // 2


SMALL = person(8, 8)
PROFILE = rgb_profile("Display P3")


def tagged(format, profile):
    return read_header(make(format, SMALL, icc_profile=profile)).colour


def unpacked(tag):
    return zlib.decompress(tag.profile) if tag.deflated else tag.profile


@pytest.mark.parametrize("format", FORMATS)
def test_profile_is_read(format):
    assert unpacked(tagged(format, PROFILE)) == PROFILE
    assert tagged(format, PROFILE).ignored_tag == ""


@pytest.mark.parametrize("format", FORMATS)
def test_photo_without_a_profile_says_nothing_of_colours(format):
    assert read_header(make(format, SMALL)).colour == UNTAGGED


def jpeg_of_parts(*parts):
    return jpeg_with(make_jpeg(SMALL), *parts)


def app2(content):
    return 0xE2, content


def part(number, count, content):
    return app2(b"ICC_PROFILE\0" + bytes((number, count)) + content)


def test_profile_of_a_jpeg_in_many_parts_of_any_order():
    parts = [part(3, 3, b"third"), part(1, 3, b"first"), app2(b"MPF\0"), part(2, 3, b"second")]
    assert read_header(jpeg_of_parts(*parts)).colour == ColourTag(b"firstsecondthird")


def test_profile_of_more_than_one_segment_as_others_write_it():
    long = PROFILE + bytes(200_000)
    assert tagged("JPEG", long).profile == long


@pytest.mark.parametrize(
    "parts",
    [
        [part(1, 2, b"x")],
        [part(1, 2, b"x"), part(3, 2, b"x")],
        [part(1, 1, b"x"), part(1, 1, b"x")],
        [part(0, 1, b"x")],
        [app2(b"ICC_PROFILE\0")],
        [app2(b"ICC_PROFILE\0\x01")],
        [part(1, 1, b"x")] * 300,
    ],
)
def test_profile_of_a_jpeg_with_parts_missing_is_ignored_and_said(parts):
    header = read_header(jpeg_of_parts(*parts))
    assert (header.width, header.height) == (8, 8)
    assert header.colour == ColourTag(ignored_tag="profile with parts missing")


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_profile_of_too_many_bytes_is_ignored_and_said(format):
    assert len(tagged(format, bytes(MAX_PROFILE_BYTES)).profile) == MAX_PROFILE_BYTES
    assert tagged(format, bytes(MAX_PROFILE_BYTES + 1)) == ColourTag(
        ignored_tag="profile of too many bytes"
    )


def png_colour(*chunks):
    return read_header(png_with(make_png(SMALL), *chunks)).colour


GAMMA = (b"gAMA", struct.pack(">I", 45_455))
LINEAR = (b"gAMA", struct.pack(">I", 100_000))
PRIMARIES = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
CHROMATICITIES = (b"cHRM", struct.pack(">8I", *PRIMARIES))
WIDE = (b"cHRM", struct.pack(">8I", *PRIMARIES[:2], 68_000, 32_000, *PRIMARIES[4:]))
ICC = (b"iCCP", b"name\0\0packed")


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([(b"sRGB", b"\0")], UNTAGGED),
        ([GAMMA], UNTAGGED),
        ([GAMMA, CHROMATICITIES], UNTAGGED),
        ([(b"sRGB", b"\0"), LINEAR], UNTAGGED),
        ([(b"cICP", bytes((1, 13, 0, 1)))], UNTAGGED),
        ([(b"cICP", bytes((12, 13, 0, 1)))], ColourTag(ignored_tag="cICP")),
        ([(b"cICP", b""), (b"sRGB", b"\0")], ColourTag(ignored_tag="cICP")),
        ([LINEAR], ColourTag(ignored_tag="gAMA and cHRM")),
        ([GAMMA, WIDE], ColourTag(ignored_tag="gAMA and cHRM")),
        ([(b"gAMA", b"")], ColourTag(ignored_tag="gAMA and cHRM")),
        ([ICC], ColourTag(b"packed", deflated=True)),
        ([LINEAR, ICC, (b"sRGB", b"\0"), (b"cICP", b"xxxx")], ColourTag(b"packed", deflated=True)),
        ([ICC, (b"iCCP", b"second\0\0other")], ColourTag(b"packed", deflated=True)),
    ],
)
def test_chunks_of_a_png_about_colours(chunks, expected):
    assert png_colour(*chunks) == expected


@pytest.mark.parametrize("content", [b"", b"name", b"name\0", b"name\0\x01packed", b"n" * 90])
def test_malformed_profile_of_a_png_is_ignored_and_said(content):
    assert "profile without a name" in png_colour((b"iCCP", content)).ignored_tag


@pytest.mark.parametrize(
    ("depth", "colour_type", "content", "level"),
    [
        (1, 0, b"\0\1", 255),
        (2, 0, b"\0\2", 170),
        (4, 0, b"\0\3", 51),
        (8, 0, b"\0\7", 7),
        (8, 0, b"\1\7", 7),
        (16, 0, b"\1\7", 263),
        (8, 0, b"\7", None),
        (0, 0, b"\0\7", None),
        (5, 0, b"\0\7", None),
        (8, 2, b"\0\7", None),
        (8, 3, b"\0\7", None),
    ],
)
def test_transparent_level_of_a_grey_png(depth, colour_type, content, level):
    png = png_with(png_file(1, 1, depth, colour_type, b""), (b"tRNS", content))
    assert read_header(png).transparent_grey == level


def test_header_shows_no_profile_in_a_log():
    assert "profile=" not in repr(tagged("JPEG", PROFILE))


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
