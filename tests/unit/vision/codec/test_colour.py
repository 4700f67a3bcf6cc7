"""Tests of the conversion to sRGB. Expected colours are computed here or by Pillow."""

import io
import random
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from silhouette_seg.vision.codec.colour import ColourNote, ColourTreatment, to_srgb
from silhouette_seg.vision.codec.colour_tag import MAX_PROFILE_BYTES, ColourTag
from tests.support.images import (
    COLORANTS,
    D50,
    GAMMAS,
    SRGB_CURVE,
    grey_profile,
    icc_gamma,
    icc_parametric,
    icc_profile,
    icc_sampled,
    matrix_profile,
    person,
    rgb_profile,
    table_profile,
)

WIDE = ["Display P3", "Adobe RGB", "ProPhoto"]
SRGB = ColourNote(ColourTreatment.SRGB)
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def linear(encoded):
    """Converts sRGB to linear light, from 0..1 to 0..1."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def from_xyz(xyz):
    """Converts XYZ of D50 to sRGB, 0..255, and clips colours outside its gamut."""
    light = np.clip(xyz @ np.linalg.inv(np.array(COLORANTS["sRGB"])), 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def by_matrix(rgb, space):
    light = rgb / 255.0
    light = light ** GAMMAS[space] if space in GAMMAS else linear(light)
    return from_xyz(light @ np.array(COLORANTS[space]))


def from_lab(lightness, a, b):
    middle = (lightness + 16) / 116
    roots = np.array([middle + a / 500, middle, middle - b / 200])
    xyz = np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29)) * D50
    return from_xyz(xyz)


def pixel(*channels):
    return np.array([[channels]], np.uint8)


def converted(pixels, profile):
    rgb, note = to_srgb(pixels, ColourTag(profile))
    assert note.treatment is ColourTreatment.CONVERTED, note
    return rgb


@pytest.mark.parametrize("space", WIDE)
def test_matrix_profile_converts_by_its_matrix(space):
    rgb = converted(person(), rgb_profile(space))
    difference = np.abs(rgb - by_matrix(person(), space))
    # With a gamma of 1.8, 8 bits are coarse in the darkest tones.
    assert np.percentile(difference, 99) <= 2
    assert difference.max() <= 6


def by_lcms(rgb, profile):
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    shown = ImageCms.profileToProfile(Image.fromarray(rgb), opened, SRGB_PROFILE, intent)
    return np.asarray(shown).astype(int)


@pytest.mark.parametrize(
    "curve",
    [
        icc_gamma(2.2),
        icc_sampled([]),
        icc_sampled([0, 40_000, 65_535]),
        icc_sampled([round(65_535 * (n / 1023) ** 2.4) for n in range(1024)]),
        icc_parametric(0, 2.4),
        icc_parametric(1, 2.2, 0.9, 0.1),
        icc_parametric(1, 2.2, 1.2, -0.2),
        icc_parametric(2, 2.2, 0.8, 0.1, 0.05),
        icc_parametric(3, *SRGB_CURVE),
        icc_parametric(4, *SRGB_CURVE, 0.02, 0.02),
    ],
)
def test_tone_curves_match_those_of_lcms(curve):
    profile = matrix_profile("curve", COLORANTS["Display P3"], curve)
    difference = np.abs(converted(person(), profile) - by_lcms(person(), profile))
    assert np.percentile(difference, 99) <= 1
    assert difference.max() <= 4


@pytest.mark.parametrize(
    ("space", "stored", "shown"),
    [
        ("Display P3", (234, 51, 35), (255, 0, 0)),
        ("Display P3", (117, 251, 76), (0, 255, 0)),
        ("Display P3", (0, 0, 245), (0, 0, 255)),
        ("Adobe RGB", (219, 0, 0), (255, 0, 0)),
        ("Adobe RGB", (144, 255, 60), (0, 255, 0)),
    ],
)
def test_primaries_of_srgb_convert_from_wider_spaces(space, stored, shown):
    rgb = converted(pixel(*stored), rgb_profile(space))
    np.testing.assert_allclose(rgb[0, 0], shown, atol=12)


@pytest.mark.parametrize("space", WIDE)
@pytest.mark.parametrize("channel", range(3))
def test_colours_outside_srgb_gamut_are_clipped(space, channel):
    stored = pixel(*(255 * (n == channel) for n in range(3)))
    rgb = converted(stored, rgb_profile(space))[0, 0].tolist()
    assert rgb[channel] >= 250
    assert min(rgb) == 0


@pytest.mark.parametrize("space", WIDE)
def test_black_and_white_keep_their_levels(space):
    ends = np.array([[(0, 0, 0), (255, 255, 255)]], np.uint8)
    np.testing.assert_allclose(converted(ends, rgb_profile(space)), ends, atol=1)


@pytest.mark.parametrize(
    "profile",
    [
        rgb_profile("sRGB"),
        SRGB_PROFILE.tobytes(),
    ],
)
def test_srgb_profile_changes_no_pixel(profile):
    rgb, note = to_srgb(person(), ColourTag(profile))
    np.testing.assert_array_equal(rgb, person())
    assert note == SRGB


def test_untagged_pixels_stay_and_count_as_srgb():
    rgb, note = to_srgb(person(), ColourTag())
    np.testing.assert_array_equal(rgb, person())
    assert str(note) == "srgb"


def test_pixels_stay_unchanged_without_conversion():
    rgb, note = to_srgb(person(), ColourTag(rgb_profile("Display P3")), convert=False)
    np.testing.assert_array_equal(rgb, person())
    assert str(note) == "kept"


def test_conversion_of_pixel_does_not_depend_on_others():
    profile = rgb_profile("Adobe RGB")
    whole = converted(person(201, 77), profile)
    for row, column in [(0, 0), (63, 76), (64, 0), (200, 76)]:
        alone = converted(person(201, 77)[row : row + 1, column : column + 1], profile)
        np.testing.assert_array_equal(whole[row, column], alone[0, 0])


def test_photo_that_is_not_contiguous_is_converted():
    profile = rgb_profile("Adobe RGB")
    view = person()[::2, 5:50]
    np.testing.assert_array_equal(converted(view, profile), converted(view.copy(), profile))


@pytest.mark.parametrize(
    ("photo", "profile"),
    [
        (person(), rgb_profile("Display P3")),
        (person(), table_profile(b"RGB ", {(1, 0, 0): (50, 60, 0)})),
        (np.repeat(person()[..., :1], 3, axis=2), grey_profile(1.8)),
        (
            np.dstack([person(), person()[..., 0]]),
            table_profile(b"CMYK", {(1, 0, 0, 1): (9, 9, 9)}),
        ),
    ],
)
def test_conversion_in_place_gives_same_pixels(photo, profile):
    apart = to_srgb(photo, ColourTag(profile))
    used_up = photo.copy()
    in_place = to_srgb(used_up, ColourTag(profile), in_place=True)
    np.testing.assert_array_equal(in_place[0], apart[0])
    assert in_place[1] == apart[1]
    assert (in_place[0] is used_up) == (photo.shape[2] == 3)


def test_conversion_in_many_threads_gives_same_pixels():
    profile = rgb_profile("ProPhoto")
    alone = converted(person(), profile)
    with ThreadPoolExecutor(8) as pool:
        for together in pool.map(lambda _: converted(person(), profile), range(40)):
            np.testing.assert_array_equal(together, alone)


GREYS = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)


@pytest.mark.parametrize("gamma", [1.4, 1.8, 2.2])
def test_grey_profile_converts_grey_photo(gamma):
    rgb = converted(GREYS, grey_profile(gamma))
    light = (np.arange(256) / 255.0) ** gamma
    np.testing.assert_allclose(rgb[0], from_xyz(light[:, None] * D50), atol=2)


def test_grey_profile_with_lab_connection_converts_grey_photo():
    rgb = converted(GREYS, grey_profile(1.8, b"Lab "))
    lightness = 100 * (np.arange(256) / 255) ** 1.8
    expected = [from_lab(each, 0, 0) for each in lightness]
    np.testing.assert_allclose(rgb[0], expected, atol=3)


def test_rgb_profile_converts_grey_photo():
    rgb = converted(GREYS, rgb_profile("ProPhoto"))
    np.testing.assert_allclose(rgb, by_matrix(GREYS, "ProPhoto"), atol=2)


INKS = {
    (0, 0, 0, 0): (100, 0, 0),
    (1, 0, 0, 0): (60, -30, -30),
    (0, 1, 0, 0): (50, 60, 0),
    (0, 0, 1, 0): (88, -5, 70),
}


@pytest.mark.parametrize("ink", sorted(INKS))
def test_inks_convert_to_colours_of_press_profile(ink):
    stored = pixel(*(255 - 255 * share for share in ink))
    rgb = converted(stored, table_profile(b"CMYK", INKS))
    np.testing.assert_allclose(rgb[0, 0], from_lab(*INKS[ink]), atol=4)


def test_table_of_rgb_profile_converts_colours():
    """The table of a scanner maps red to itself and cyan to yellow."""
    corners = {(1, 0, 0): (50, 60, 0), (0, 1, 1): (88, -5, 70)}
    profile = table_profile(b"RGB ", corners)
    for stored, lab in corners.items():
        rgb = converted(pixel(*(255 * level for level in stored)), profile)
        np.testing.assert_allclose(rgb[0, 0], from_lab(*lab), atol=4)


def test_inks_without_profile_are_multiplied_out():
    rgb, note = to_srgb(pixel(255, 128, 0, 128), ColourTag())
    np.testing.assert_allclose(rgb, pixel(128, 64, 0), atol=1)
    assert note == SRGB


@pytest.mark.parametrize(
    ("pixels", "profile", "reason"),
    [
        (person(), b"not a profile", "not valid"),
        (person(), rgb_profile("Display P3")[:200], "not valid"),
        (person(), icc_profile(b"RGB ", "nothing inside", {}, b"mntr"), "not valid"),
        (person(), grey_profile(1.8), "profile for GRAY"),
        (person(), table_profile(b"CMYK", {}), "profile for CMYK"),
        (pixel(9, 9, 9, 9), rgb_profile("Display P3"), "profile for RGB"),
        (person(), icc_profile(b"Lab ", "Lab", {}, b"spac"), "for Lab"),
        (person(), icc_profile(b"RGB ", "Link", {}, b"link"), "class link"),
        (person(), icc_profile(b"RGB ", "x", {b"A2B0": b"mpet"}, b"mntr"), "multi-process"),
        (person(), matrix_profile("x", COLORANTS["sRGB"], b"curv"), "not valid"),
        (person(), matrix_profile("x", COLORANTS["sRGB"], icc_parametric(5, 1)), "not valid"),
        (person(), matrix_profile("x", COLORANTS["sRGB"], icc_parametric(0, -1)), "not valid"),
        (person(), ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), "for Lab"),
        (person(), ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(), "for XYZ"),
    ],
)
def test_unusable_profile_is_ignored_with_reason(pixels, profile, reason):
    rgb, note = to_srgb(pixels, ColourTag(profile))
    np.testing.assert_array_equal(rgb, to_srgb(pixels, ColourTag())[0])
    assert note.treatment is ColourTreatment.IGNORED
    assert reason in note.detail


def test_compressed_profile_is_decompressed():
    profile = rgb_profile("Display P3")
    packed, note = to_srgb(person(), ColourTag(zlib.compress(profile), deflated=True))
    np.testing.assert_array_equal(packed, converted(person(), profile))
    assert str(note) == "converted:Display P3"


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (b"no zlib", "does not unpack"),
        (zlib.compress(rgb_profile("ProPhoto"))[:-100], "not valid"),
        (zlib.compress(bytes(MAX_PROFILE_BYTES + 1)), "too many bytes"),
        (zlib.compress(bytes(200 * 1024 * 1024)), "too many bytes"),
    ],
)
def test_profile_that_does_not_decompress_is_ignored_with_reason(packed, reason):
    rgb, note = to_srgb(person(), ColourTag(packed, deflated=True))
    np.testing.assert_array_equal(rgb, person())
    assert note.treatment is ColourTreatment.IGNORED
    assert reason in note.detail


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("Cam\r\nera\x1b[31m \u202ered", "converted:Cam era [31m red"),
        ("x" * 500, "converted:" + "x" * 60),
        ("", "converted:a profile without a name"),
    ],
)
def test_profile_name_is_reduced_to_short_printable_text(name, note):
    tags = {b"kTRC": b"curv" + bytes(8)}
    profile = icc_profile(b"GRAY", name, tags, b"mntr")
    assert str(to_srgb(GREYS, ColourTag(profile))[1]) == note


PROFILES = [
    rgb_profile("Display P3"),
    grey_profile(1.8),
    table_profile(b"CMYK", INKS),
    SRGB_PROFILE.tobytes(),
]
SMALL = {
    "colour": person(4, 4),
    "grey": GREYS,
    "inks": np.dstack([person(4, 4), person(4, 4)[..., 0]]),
}


def check_conversion(profile):
    """Asserts that a profile is used or ignored for every kind of photo."""
    for pixels in SMALL.values():
        rgb, note = to_srgb(pixels, ColourTag(profile))
        assert rgb.shape == (*pixels.shape[:2], 3)
        assert rgb.dtype == np.uint8
        assert str(note).isprintable()


def test_damaged_profiles_are_used_or_ignored(mutations):
    for number in range(mutations // 10):
        chance = random.Random(number)
        broken = bytearray(chance.choice(PROFILES))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(min(len(broken), chance.choice((150, 300, len(broken)))))
            broken[at : at + 4] = chance.choice(
                (b"\xff" * 4, bytes(4), chance.randbytes(4), b"\0\0\0\x01", b"mAB ", b"mft2")
            )
        if chance.random() < 0.2:
            del broken[chance.randrange(len(broken)) :]
        try:
            check_conversion(bytes(broken))
        except Exception as error:
            pytest.fail(f"number {number}: {error!r}")


@given(st.binary(max_size=300))
def test_profile_with_random_body_is_used_or_ignored(rest):
    check_conversion(PROFILES[0][:128] + rest)
