import io
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from silhouette_seg.errors import ServiceError, UndecodableImage
from silhouette_seg.vision.codec.decode import (
    MAX_PADDING_SHARE,
    MAX_SCANS,
    Frame,
    ImageLimits,
    check_limits,
    decode,
    read_header,
)
from tests.support.damage import WITH_TRAILER, damaged, seeds
from tests.support.images import (
    jpeg_with,
    make,
    make_jpeg,
    make_motion_photo,
    make_png,
    make_png16,
    make_webp,
    person,
    png_file,
    png_with,
    quadrants,
    rgb_profile,
    stored,
    table_profile,
)

FORMATS = ["JPEG", "PNG", "WEBP"]


def decoded(data, **options):
    return decode(data, read_header(data), **options)


def mean_difference(one, other):
    return np.abs(one.astype(int) - other.astype(int)).mean()


def test_png_decodes_exactly():
    frame = decoded(make_png(person()))
    np.testing.assert_array_equal(frame.rgb, person())
    assert frame.photo_hw == (240, 320)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_decodes_like_pillow(options):
    jpeg = make_jpeg(person(), **options)
    reference = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert mean_difference(decoded(jpeg).rgb, reference) < 0.5


@pytest.mark.parametrize("options", [{}, {"lossless": True}])
def test_webp_decodes_like_pillow(options):
    webp = make_webp(person(), **options)
    reference = np.asarray(Image.open(io.BytesIO(webp)).convert("RGB"))
    assert mean_difference(decoded(webp).rgb, reference) < 0.5


@pytest.mark.parametrize("format", [*FORMATS, "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_of_every_orientation_becomes_upright(format, orientation):
    image = make(format, stored(quadrants(), orientation), orientation=orientation)
    frame = decoded(image)
    assert frame.photo_hw == frame.rgb.shape[:2] == (64, 96)
    assert mean_difference(frame.rgb, quadrants()) < 6


@pytest.mark.parametrize("orientation", [1, 6])
def test_reduced_jpeg_is_upright_and_has_minimum_size(orientation):
    jpeg = make_jpeg(person(480, 640), orientation=orientation)
    frame = decoded(jpeg, min_size=(100, 100))
    assert frame.photo_hw == ((640, 480) if orientation == 6 else (480, 640))
    assert frame.rgb.shape[:2] == tuple(side // 4 for side in frame.photo_hw)
    whole = Image.fromarray(decoded(jpeg).rgb)
    small = np.asarray(whole.resize(frame.rgb.shape[1::-1], Image.Resampling.BOX))
    assert mean_difference(frame.rgb, small) < 2


@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=40)
def test_reduced_jpeg_is_never_below_minimum_size(height, width, min_height, min_width):
    jpeg = make_jpeg(np.full((height, width, 3), 90, np.uint8))
    rgb = decoded(jpeg, min_size=(min_height, min_width)).rgb
    for side, reduced, min_side in zip(
        (height, width), rgb.shape, (min_height, min_width), strict=False
    ):
        assert reduced >= min(side, min_side)
        factor = round(side / reduced)
        assert abs(reduced * factor - side) <= MAX_PADDING_SHARE * side


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_formats_other_than_jpeg_are_not_reduced(format):
    assert decoded(make(format, person()), min_size=(10, 10)).rgb.shape == (240, 320, 3)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_png_of_every_mode_becomes_rgb(mode):
    png = make_png(person(), mode=mode)
    reference = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    np.testing.assert_array_equal(decoded(png).rgb, reference)


@pytest.mark.parametrize(("depth", "colour_type"), [(8, 0), (16, 0), (8, 2), (16, 2)])
def test_transparent_colour_of_png_becomes_white(depth, colour_type):
    """The row has black, the transparent level and grey in each channel."""
    kind = ">u1" if depth == 8 else ">u2"
    levels = np.repeat(np.array([0, 7, 128]) * (1 if depth == 8 else 257), colour_type + 1)
    row = zlib.compress(b"\0" + levels.astype(kind).tobytes())
    clear = levels[colour_type + 1 : 2 * (colour_type + 1)].astype(">u2").tobytes()
    png = png_with(png_file(3, 1, depth, colour_type, row), (b"tRNS", clear))
    assert decoded(png).rgb[0].tolist() == [[0] * 3, [255] * 3, [128] * 3]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_transparent_level_of_few_bits_becomes_white(depth):
    """The last pixel has the transparent level 1; the others have level 0."""
    row = zlib.compress(b"\0\0\1")
    width = 16 // depth
    png = png_with(png_file(width, 1, depth, 0, row), (b"tRNS", b"\0\1"))
    rgb = decoded(png).rgb[0]
    assert (rgb[:-1] == 0).all()
    assert rgb[-1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_of_16_bits_is_scaled_to_8(channels):
    rgb = decoded(make_png16(channels)).rgb
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb[0, :, 0], np.arange(256))


def test_grey_and_cmyk_jpeg_become_rgb():
    for mode in ("L", "CMYK"):
        jpeg = make_jpeg(person(), mode=mode)
        reference = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        assert mean_difference(decoded(jpeg).rgb, reference) < 3


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_transparent_pixels_are_flattened_on_white(format):
    rgba = np.dstack([np.full((16, 16, 3), 100, np.uint8), np.full((16, 16), 128, np.uint8)])
    rgba[:8, :, 3] = 0
    rgb = decoded(make(format, rgba, **({"lossless": True} if format == "WEBP" else {}))).rgb
    assert (rgb[:8] == 255).all()
    assert abs(int(rgb[12, 3, 0]) - (100 * 128 + 255 * 127) // 255) <= 1


P3 = rgb_profile("Display P3")
EXACT = {"PNG": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}


def by_pillow(rgb):
    """Converts Display P3 to sRGB with Pillow."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(P3))
    return np.asarray(
        ImageCms.profileToProfile(Image.fromarray(rgb), profile, ImageCms.createProfile("sRGB"))
    )


@pytest.mark.parametrize("format", FORMATS)
def test_colours_of_profile_become_srgb(format):
    frame = decoded(make(format, person(), icc_profile=P3, **EXACT[format]))
    assert mean_difference(frame.rgb, by_pillow(person())) < 1
    assert mean_difference(person(), by_pillow(person())) > 3
    assert str(frame.colour) == "converted:Display P3"


@pytest.mark.parametrize("format", FORMATS)
def test_colours_stay_as_stored_without_conversion(format):
    tagged = decoded(make(format, person(), icc_profile=P3, **EXACT[format]), convert_colours=False)
    plain = decoded(make(format, person(), **EXACT[format]))
    np.testing.assert_array_equal(tagged.rgb, plain.rgb)
    assert (str(tagged.colour), str(plain.colour)) == ("kept", "srgb")


@pytest.mark.parametrize("format", FORMATS)
def test_image_with_orientation_and_profile_is_upright_srgb(format):
    photo = make(format, quadrants(), icc_profile=P3, orientation=6, **EXACT[format])
    frame = decoded(photo)
    assert frame.photo_hw == frame.rgb.shape[:2] == (96, 64)
    turned = by_pillow(np.rot90(quadrants(), -1).copy())
    assert mean_difference(frame.rgb, turned) < 1


def test_reduced_jpeg_is_converted_to_srgb():
    jpeg = make_jpeg(np.full((480, 640, 3), (200, 60, 40), np.uint8), icc_profile=P3)
    frame = decoded(jpeg, min_size=(100, 100))
    assert frame.rgb.shape == (120, 160, 3)
    expected = by_pillow(np.full((1, 1, 3), (200, 60, 40), np.uint8))
    assert mean_difference(frame.rgb, expected) < 3


def test_png_of_16_bits_with_profile_is_converted():
    profile = zlib.compress(rgb_profile("ProPhoto"))
    frame = decoded(png_with(make_png16(3), (b"iCCP", b"x\0\0" + profile)))
    assert str(frame.colour) == "converted:ProPhoto"
    middle = 255 * (1.055 * 0.5 ** (1.8 / 2.4) - 0.055)
    assert abs(int(frame.rgb[0, 128, 0]) - middle) < 3


def test_colour_is_converted_before_flattening_on_white():
    rgba = np.full((8, 8, 4), (200, 60, 40, 128), np.uint8)
    rgb = decoded(make_png(rgba, icc_profile=P3)).rgb
    opaque = by_pillow(np.ascontiguousarray(rgba[..., :3])).astype(int)
    assert mean_difference(rgb, (opaque * 128 + 255 * 127) // 255) <= 1


def test_cmyk_jpeg_with_profile_is_converted_by_it():
    """The profile of a press maps full cyan to grey; the photo is full cyan."""
    press = table_profile(b"CMYK", {(0, 0, 0, 0): (100, 0, 0), (1, 0, 0, 0): (50, 0, 0)})
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    with_profile = decoded(make_jpeg(cyan, quality=100, icc_profile=press))
    without = decoded(make_jpeg(cyan, quality=100))
    assert np.abs(with_profile.rgb.astype(int) - 119).max() < 3
    assert np.abs(without.rgb - (0, 255, 255)).max() < 3
    assert str(with_profile.colour) == "converted:Test press"


@pytest.mark.parametrize("format", FORMATS)
def test_broken_profile_is_ignored_with_reason(format):
    frame = decoded(make(format, person(), icc_profile=P3[:300], **EXACT[format]))
    plain = decoded(make(format, person(), **EXACT[format]))
    np.testing.assert_array_equal(frame.rgb, plain.rgb)
    assert str(frame.colour) == "ignored:profile that is not valid"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1)])
def test_tiny_and_narrow_images_are_decoded(format, height, width):
    assert decoded(make(format, person(height, width))).rgb.shape == (height, width, 3)


def test_memoryview_decodes_like_bytes():
    for data in seeds().values():
        header = read_header(data)
        if header.frames == 1:
            np.testing.assert_array_equal(
                decode(memoryview(data), header).rgb, decode(data, header).rgb
            )


def test_jpeg_with_trailing_bytes_is_decoded():
    jpeg = make_jpeg(person())
    np.testing.assert_array_equal(decoded(jpeg + b"\0" * 999).rgb, decoded(jpeg).rgb)


def test_jpeg_with_stray_bytes_between_segments_is_decoded():
    jpeg = make_jpeg(person())
    at = jpeg.index(b"\xff\xdb")
    np.testing.assert_array_equal(decoded(jpeg[:at] + b"\x11" + jpeg[at:]).rgb, decoded(jpeg).rgb)


@pytest.mark.parametrize(
    "name", [name for name in sorted(seeds().keys() - WITH_TRAILER) if "animated" not in name]
)
@pytest.mark.parametrize("min_size", [None, (8, 8)])
def test_image_truncated_anywhere_is_undecodable(name, min_size):
    whole = seeds()[name]
    for length in range(40, len(whole) - 1, max(1, len(whole) // 60)):
        with pytest.raises(UndecodableImage):
            decoded(whole[:length], min_size=min_size)


def test_truncated_jpeg_with_end_marker_is_undecodable():
    whole = make_jpeg(person())
    with pytest.raises(UndecodableImage):
        decoded(whole[: len(whole) // 2] + b"\xff\xd9")


def test_jpeg_with_too_many_scans_is_undecodable():
    jpeg = make_jpeg(person(64, 64), progressive=True)
    last = [match.start() for match in re.finditer(b"\xff\xda", jpeg)][-1]
    flood = jpeg[:-2] + jpeg[last:-2] * MAX_SCANS + b"\xff\xd9"
    with pytest.raises(UndecodableImage) as refused:
        decoded(flood)
    assert (refused.value.limit, refused.value.actual) == (MAX_SCANS, MAX_SCANS + 10)


@pytest.mark.parametrize("min_size", [None, (8, 8)])
def test_motion_photo_decodes_like_its_still(min_size):
    photo = make_motion_photo(scans=2 * MAX_SCANS)
    still = photo[: photo.index(b"\xff\xd9") + 2]
    expected = decoded(still, min_size=min_size).rgb
    np.testing.assert_array_equal(decoded(photo, min_size=min_size).rgb, expected)


def test_thumbnails_with_many_scans_are_decoded():
    thumbnail = make_jpeg(person(16, 16), progressive=True)
    photo = jpeg_with(make_jpeg(person()), *[(0xE1, b"Exif\0\0" + thumbnail)] * MAX_SCANS)
    np.testing.assert_array_equal(decoded(photo).rgb, decoded(make_jpeg(person())).rgb)


@pytest.mark.parametrize("marker", [0x02, 0xBF, 0xF0])
def test_scans_hidden_in_an_unknown_segment_are_too_many(marker):
    jpeg = make_jpeg(person(64, 64), progressive=True, restart_marker_blocks=1)
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    hidden = bytes((0xFF, marker)) + b"\xff\xff" + scan * MAX_SCANS
    with pytest.raises(UndecodableImage) as refused:
        decoded(jpeg[:-2] + hidden + b"\xff\xd9")
    assert refused.value.limit == MAX_SCANS


@pytest.mark.parametrize("format", FORMATS)
def test_header_that_disagrees_with_pixels_is_undecodable(format):
    other = read_header(make(format, person(9, 8)))
    with pytest.raises(UndecodableImage):
        decode(make(format, person(8, 8)), other)


def test_webp_canvas_that_disagrees_with_frame_is_undecodable():
    webp = bytearray(make_webp(person(40, 40), orientation=1))
    webp[24:27] = struct.pack("<I", 2_000)[:3]
    with pytest.raises(UndecodableImage):
        decoded(bytes(webp))


def test_damaged_images_raise_only_service_errors(mutations):
    limits = ImageLimits(pixels=1_000_000)
    survived = 0
    for name, data in damaged(mutations // 10):
        try:
            header = read_header(data)
            check_limits(header, limits)
            frame = decode(data, header)
        except ServiceError:
            continue
        except Exception as error:
            pytest.fail(f"{name}: {error!r}")
        assert isinstance(frame, Frame)
        assert frame.rgb.shape == (*header.upright_hw, 3)
        survived += 1
    assert survived < mutations // 10
