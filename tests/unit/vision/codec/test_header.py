import io
import struct

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
from silhouette_seg.vision.codec.formats import read_header
from silhouette_seg.vision.codec.formats.jpeg import count_scans
from silhouette_seg.vision.codec.header import (
    MAX_SEGMENTS,
    ImageFormat,
    ImageHeader,
    ImageLimits,
    InputFormat,
    check_limits,
)
from tests.support.damage import seeds
from tests.support.images import (
    TEXT,
    jpeg_segment,
    jpeg_with,
    make,
    make_animated,
    make_bomb,
    make_jpeg,
    make_motion_photo,
    make_png,
    make_webp,
    person,
    png_chunk,
    png_file,
    png_with,
)

FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 33), (40, 7), (120, 300)])
def test_header_has_size_as_stored(format, height, width):
    header = read_header(make(format, person(height, width)))
    assert (header.format.value.upper(), header.height, header.width) == (format, height, width)
    assert (header.orientation, header.frames, header.pixels) == (1, 1, height * width)


def test_image_formats_have_media_types():
    assert [format.media_type for format in ImageFormat] == [
        "image/jpeg",
        "image/png",
        "image/webp",
    ]


def test_header_of_lossless_and_extended_webp_has_size():
    lossless = read_header(make_webp(person(50, 70), lossless=True))
    extended = read_header(make_webp(person(50, 70), orientation=1))
    assert lossless.upright_hw == extended.upright_hw == (50, 70)


def test_header_of_progressive_jpeg_has_size():
    assert read_header(make_jpeg(person(50, 70), progressive=True)).upright_hw == (50, 70)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_swaps_sides_of_upright_size(format, orientation):
    header = read_header(make(format, person(40, 64), orientation=orientation))
    assert header.orientation == orientation
    assert header.upright_hw == ((64, 40) if orientation >= 5 else (40, 64))


@pytest.mark.parametrize("format", ["WEBP", "PNG", "AVIF"])
def test_animation_with_several_frames_is_refused(format):
    header = read_header(make_animated(format, frames=3))
    assert header.frames == 3
    with pytest.raises(TooManyFrames) as refused:
        check_limits(header, ImageLimits())
    assert (refused.value.limit, refused.value.actual) == (1, 3)


MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isommp42" + bytes(40)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", TEXT, MP4, b"RIFF\0\0\0\0WAVEfmt "])
def test_bytes_of_other_types_are_unsupported(data):
    with pytest.raises(UnsupportedImageType):
        read_header(data)


def test_header_of_memoryview_is_that_of_bytes():
    jpeg = make_jpeg(person(40, 64), orientation=6)
    assert read_header(memoryview(jpeg)) == read_header(jpeg)


def test_decompression_bomb_is_refused_by_its_header():
    header = read_header(make_bomb(50_000, 50_000))
    assert header.pixels == 2_500_000_000
    with pytest.raises(SideTooLong) as refused:
        check_limits(header, ImageLimits())
    assert (refused.value.limit, refused.value.actual) == (16_384, 50_000)


def test_image_limits_are_inclusive():
    limits = ImageLimits(pixels=5_000, side=100, aspect=2)
    check_limits(ImageHeader(InputFormat.PNG, 100, 50), limits)


@pytest.mark.parametrize(
    ("width", "height", "error", "limit", "actual"),
    [
        (101, 51, SideTooLong, 100, 101),
        (80, 70, TooManyPixels, 5_000, 5_600),
        (100, 40, AspectTooExtreme, 2, 2.5),
        (40, 100, AspectTooExtreme, 2, 2.5),
    ],
)
def test_exceeded_limit_raises_with_limit_and_value(width, height, error, limit, actual):
    limits = ImageLimits(pixels=5_000, side=100, aspect=2)
    with pytest.raises(error) as refused:
        check_limits(ImageHeader(InputFormat.PNG, width, height), limits)
    assert (refused.value.limit, refused.value.actual) == (limit, actual)


def test_png_without_pixels_is_undecodable():
    with pytest.raises(UndecodableImage):
        read_header(make_bomb(0, 10))


def test_png_with_too_many_chunks_is_undecodable():
    png = make_png(person(8, 8))
    flood = png[:33] + png_chunk(b"tEXt", b"") * (MAX_SEGMENTS + 1) + png[33:]
    with pytest.raises(UndecodableImage):
        read_header(flood)


def test_webp_with_too_many_chunks_is_undecodable():
    webp = make_webp(person(8, 8), orientation=1)
    flood = webp[:30] + (b"JUNK" + bytes(4)) * (MAX_SEGMENTS + 1) + webp[30:]
    with pytest.raises(UndecodableImage):
        read_header(b"RIFF" + struct.pack("<I", len(flood) - 8) + flood[8:])


def test_webp_without_key_frame_is_undecodable():
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
"""Number of scans that libjpeg writes for colour images (`jpeg_simple_progression`)."""


@pytest.mark.parametrize(("jpeg", "scans"), [(BASELINE, 1), (PROGRESSIVE, PROGRESSIVE_SCANS)])
def test_scans_of_plain_jpeg_are_counted(jpeg, scans):
    assert count_scans(jpeg) == count_scans(memoryview(jpeg)) == scans


def test_scans_in_video_of_motion_photo_are_not_counted():
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


def test_scans_of_thumbnail_are_not_counted():
    photo = jpeg_with(BASELINE, (APP1, b"Exif\0\0" + PROGRESSIVE))
    assert count_scans(photo) == 1


def test_scans_in_payload_between_scans_are_not_counted():
    last = PROGRESSIVE.rindex(b"\xff\xda")
    embedded = jpeg_segment(0xFE, BASELINE)
    photo = PROGRESSIVE[:last] + embedded + PROGRESSIVE[last:]
    assert count_scans(photo) == PROGRESSIVE_SCANS


def test_scans_across_restart_markers_are_counted():
    jpeg = make_jpeg(person(64, 64), restart_marker_blocks=1)
    assert jpeg.count(b"\xff\xd0") > 1
    assert count_scans(jpeg + b"\xff\xda" * 60) == 1


@pytest.mark.parametrize("entropy", [b"\xff\0\xda", b"\xff\xff\0\xda", b"\xff\xd3\xda"])
def test_stuffed_bytes_in_scan_are_not_counted(entropy):
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
def test_scan_behind_marker_without_length_is_counted(marker):
    """libjpeg reads no length there, so such a payload cannot hide a scan."""
    scan = BASELINE[BASELINE.index(b"\xff\xda") : -2]
    hidden = bytes((0xFF, marker)) + struct.pack(">H", len(scan) + 2) + scan
    assert count_scans(BASELINE[:-2] + hidden + BASELINE[-2:]) == 2


def test_scan_behind_length_below_two_is_counted():
    scan = BASELINE[BASELINE.index(b"\xff\xda") : -2]
    assert count_scans(BASELINE[:-2] + b"\xff\xfe\0\0" + scan + BASELINE[-2:]) == 2


def test_jpeg_with_too_many_segments_is_undecodable():
    flood = BASELINE[:-2] + jpeg_segment(0xFE, b"") * MAX_SEGMENTS + BASELINE[-2:]
    with pytest.raises(UndecodableImage) as refused:
        count_scans(flood)
    assert refused.value.limit == MAX_SEGMENTS


@given(st.sampled_from([BASELINE, PROGRESSIVE]), st.binary(max_size=300))
def test_bytes_behind_eoi_change_nothing(jpeg, rest):
    assert read_header(jpeg + rest) == read_header(jpeg)
    assert count_scans(jpeg + rest) == count_scans(jpeg)


@given(st.binary(max_size=300))
def test_scan_count_of_any_bytes_is_bounded(rest):
    assert 0 <= count_scans(b"\xff\xd8" + rest) <= len(rest) // 2


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
def test_transparent_level_of_grey_png_is_read(depth, colour_type, content, level):
    png = png_with(png_file(1, 1, depth, colour_type, b""), (b"tRNS", content))
    assert read_header(png).transparent_grey == level


@pytest.mark.parametrize("name", sorted(seeds()))
def test_truncated_header_raises_only_service_errors(name):
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
