"""Tests of the colour information that headers contain."""

import struct
import zlib

import numpy as np
import pytest

from silhouette_seg.vision.codec.colour_tag import MAX_PROFILE_BYTES, UNTAGGED, ColourTag
from silhouette_seg.vision.codec.decode import decode
from silhouette_seg.vision.codec.formats import read_header
from tests.support.heif import icc, make_heic
from tests.support.images import jpeg_with, make, make_jpeg, make_png, person, png_with, rgb_profile

FORMATS = ["JPEG", "PNG", "WEBP"]
SMALL = person(8, 8)
PROFILE = rgb_profile("Display P3")


def tagged(format, profile):
    return read_header(make(format, SMALL, icc_profile=profile)).colour


def unpacked(tag):
    return zlib.decompress(tag.profile) if tag.deflated else tag.profile


@pytest.mark.parametrize("format", FORMATS)
def test_profile_is_read_from_every_format(format):
    assert unpacked(tagged(format, PROFILE)) == PROFILE
    assert tagged(format, PROFILE).ignored_tag == ""


@pytest.mark.parametrize("format", FORMATS)
def test_photo_without_profile_is_untagged(format):
    assert read_header(make(format, SMALL)).colour == UNTAGGED


def jpeg_of_parts(*parts):
    return jpeg_with(make_jpeg(SMALL), *parts)


def app2(content):
    return 0xE2, content


def part(number, count, content):
    return app2(b"ICC_PROFILE\0" + bytes((number, count)) + content)


def test_profile_parts_of_jpeg_are_joined_in_order():
    parts = [part(3, 3, b"third"), part(1, 3, b"first"), app2(b"MPF\0"), part(2, 3, b"second")]
    assert read_header(jpeg_of_parts(*parts)).colour == ColourTag(b"firstsecondthird")


def test_profile_over_several_segments_is_read():
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
def test_profile_with_missing_parts_is_ignored_with_reason(parts):
    header = read_header(jpeg_of_parts(*parts))
    assert (header.width, header.height) == (8, 8)
    assert header.colour == ColourTag(ignored_tag="profile with parts missing")


@pytest.mark.parametrize("format", [*FORMATS, "TIFF", "AVIF", "HEIC"])
@pytest.mark.parametrize("size", [70_000, MAX_PROFILE_BYTES])
def test_profile_of_any_size_within_limit_converts_colours(format, size):
    """Random bytes, which no format can shrink, fill the profile up to its size."""
    profile = PROFILE + np.random.default_rng(0).bytes(size - len(PROFILE))
    photo = (
        make_heic(person(64, 64), icc(profile))
        if format == "HEIC"
        else make(format, SMALL, icc_profile=profile)
    )
    assert str(decode(photo, read_header(photo)).colour) == "converted:Display P3"


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_profile_over_size_limit_is_ignored_with_reason(format):
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
def test_colour_chunks_of_png_become_tag(chunks, expected):
    assert png_colour(*chunks) == expected


@pytest.mark.parametrize("content", [b"", b"name", b"name\0", b"name\0\x01packed", b"n" * 90])
def test_malformed_profile_of_png_is_ignored_with_reason(content):
    assert "profile without a name" in png_colour((b"iCCP", content)).ignored_tag


def test_header_repr_does_not_contain_profile():
    assert "profile=" not in repr(tagged("JPEG", PROFILE))
