"""HEIC and AVIF: geometry, colour, alpha, depth, and the parts that are not the primary image."""

import struct

import numpy as np
import pytest

from silhouette_seg.errors import (
    NotInstalled,
    TooManyPixels,
    UndecodableImage,
    UnsupportedImageType,
)
from silhouette_seg.vision.codec import heic
from silhouette_seg.vision.codec.decode import ImageLimits, check_limits, decode, read_header
from silhouette_seg.vision.codec.formats.bitstreams import MAX_SLICES
from silhouette_seg.vision.codec.formats.heif_boxes import MAX_ITEMS
from tests.support.heif import (
    TURNS,
    HeifItem,
    Layout,
    av1_item,
    box,
    clap,
    exif_block,
    grid_layout,
    heif_file,
    heif_layout,
    hevc_item,
    icc,
    imir,
    irot,
    ispe,
    make_avif,
    make_heic,
    nclx,
    with_alpha,
    xmp_packet,
)
from tests.support.images import make, make_animated, person, quadrants, rgb_profile, stored

MAKERS = [pytest.param(make_heic, id="heic"), pytest.param(make_avif, id="avif")]
ITEMS = [pytest.param(hevc_item, b"heic", id="heic"), pytest.param(av1_item, b"avif", id="avif")]
PHOTO = person(96, 128)


def decoded(data):
    header = read_header(data)
    check_limits(header, ImageLimits())
    return decode(data, header)


def mean_difference(one, other):
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other).mean()


@pytest.mark.parametrize("make_file", MAKERS)
def test_heif_decodes_to_its_pixels(make_file):
    frame = decoded(make_file(PHOTO))
    assert frame.photo_hw == (96, 128)
    assert mean_difference(frame.rgb, PHOTO) < 2
    assert str(frame.colour) == "srgb"


@pytest.mark.parametrize("format", ["yuvj420p", "yuvj444p", "yuv420p10le", "yuv444p10le"])
def test_heic_of_every_depth_and_subsampling_is_decoded(format):
    assert mean_difference(decoded(make_heic(PHOTO, format=format)).rgb, PHOTO) < 3


def test_grey_heic_becomes_rgb():
    rgb = decoded(make_heic(PHOTO, format="gray")).rgb
    grey = PHOTO @ np.array((0.299, 0.587, 0.114))
    assert mean_difference(rgb, np.dstack([grey] * 3)) < 1


@pytest.mark.parametrize("make_file", MAKERS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_and_mirror_are_applied_once(make_file, orientation):
    image = make_file(stored(quadrants(), orientation), *TURNS[orientation])
    header = read_header(image)
    assert header.orientation == orientation
    assert header.upright_hw == (64, 96)
    assert mean_difference(decoded(image).rgb, quadrants()) < 1


@pytest.mark.parametrize(("make_item", "brand"), ITEMS)
@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_does_not_turn_a_rotated_heif_again(make_item, brand, orientation):
    item = make_item(stored(quadrants(), orientation), *TURNS[orientation])
    image = heif_file(heif_layout(item, brand, exif_block(orientation), xmp_packet(orientation)))
    assert mean_difference(decoded(image).rgb, quadrants()) < 1


@pytest.mark.parametrize(("make_item", "brand"), ITEMS)
@pytest.mark.parametrize("quarter_turns", [0, 2])
def test_rotation_of_heif_precedes_contrary_exif(make_item, brand, quarter_turns):
    item = make_item(quadrants(), irot(quarter_turns))
    rgb = decoded(heif_file(heif_layout(item, brand, exif_block(6)))).rgb
    assert mean_difference(rgb, np.rot90(quadrants(), quarter_turns)) < 1


@pytest.mark.parametrize(("make_item", "brand"), ITEMS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("tag", ["exif", "xmp"])
def test_tag_turns_a_heif_without_rotation(make_item, brand, orientation, tag):
    block = exif_block(orientation) if tag == "exif" else xmp_packet(orientation)
    item = make_item(stored(quadrants(), orientation))
    frame = decoded(heif_file(heif_layout(item, brand, **{tag: block})))
    assert frame.photo_hw == (64, 96)
    assert mean_difference(frame.rgb, quadrants()) < 1


@pytest.mark.parametrize("make_file", MAKERS)
def test_clean_aperture_is_cropped_before_rotation(make_file):
    crop = clap(10, 20, 100, 70, (128, 96))
    frame = decoded(make_file(PHOTO, crop, irot(1), imir(0)))
    assert frame.photo_hw == (100, 70)
    assert mean_difference(frame.rgb, np.rot90(PHOTO[20:90, 10:110])[::-1]) < 2


@pytest.mark.parametrize(
    "transforms",
    [
        (clap(10, 20, 200, 70, (128, 96)),),
        (clap(-4, 0, 100, 70, (128, 96)),),
        ((b"clap", struct.pack(">IIIIiIiI", 99, 2, 70, 1, 0, 1, 0, 1)),),
        ((b"clap", struct.pack(">IIIIiIiI", 100, 0, 70, 1, 0, 1, 0, 1)),),
        (irot(1), clap(10, 20, 60, 70, (128, 96))),
    ],
    ids=["too wide", "outside", "fraction", "zero", "after rotation"],
)
def test_invalid_clean_aperture_is_undecodable(transforms):
    with pytest.raises(UndecodableImage):
        read_header(make_heic(PHOTO, *transforms))


@pytest.mark.parametrize("transforms", [(), (irot(3),), (imir(1),)])
def test_tiles_of_grid_are_joined(transforms):
    photo = person(150, 200)
    expected = {(): photo, (irot(3),): np.rot90(photo, -1), (imir(1),): photo[:, ::-1]}[transforms]
    frame = decoded(heif_file(grid_layout(photo, 64, *transforms)))
    assert mean_difference(frame.rgb, expected) < 2


@pytest.mark.parametrize("make_file", MAKERS)
@pytest.mark.parametrize("colour", [icc(rgb_profile("Display P3")), nclx(12, 13)])
def test_display_p3_of_heif_becomes_srgb(make_file, colour):
    flat = np.full((64, 64, 3), (200, 60, 40), np.uint8)
    frame = decoded(make_file(flat, colour=colour))
    assert str(frame.colour) == "converted:Display P3"
    assert np.abs(frame.rgb.astype(int) - (217, 42, 23)).max() <= 4


@pytest.mark.parametrize(
    ("colour", "level", "expected", "note"),
    [
        (nclx(1, 1), 128, 128, "srgb"),
        (nclx(2, 2), 128, 128, "srgb"),
        (nclx(9, 14), 128, 128, "converted:BT.2020"),
        (nclx(1, 8), 128, 188, "converted:BT.709 linear"),
        (nclx(9, 16), 148, 255, "converted:BT.2020 PQ"),
        (nclx(9, 16), 100, 107, "converted:BT.2020 PQ"),
        (nclx(9, 18), 191, 254, "converted:BT.2020 HLG"),
        (nclx(1, 9), 128, 128, "ignored:nclx with transfer 9"),
        (nclx(22, 13), 128, 128, "ignored:nclx with primaries 22"),
    ],
)
def test_grey_of_code_points_becomes_srgb(colour, level, expected, note):
    """Diffuse white of 203 nits, level 148 of PQ and 191 of HLG, becomes white."""
    frame = decoded(make_heic(np.full((64, 64, 3), level, np.uint8), colour=colour))
    assert np.abs(frame.rgb.astype(int) - expected).max() <= 3
    assert str(frame.colour) == note


@pytest.mark.parametrize("premultiplied", [False, True])
def test_alpha_of_heic_is_flattened_on_white(premultiplied):
    alpha = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (96, 1))
    share = alpha[..., None] / 255
    colours = np.round(PHOTO * share).astype(np.uint8) if premultiplied else PHOTO
    layout = heif_layout(hevc_item(colours), b"heic")
    frame = decoded(heif_file(with_alpha(layout, alpha, premultiplied=premultiplied)))
    assert mean_difference(frame.rgb, PHOTO * share + 255 * (1 - share)) < 2


def test_alpha_of_avif_is_flattened_on_white():
    alpha = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (96, 1))
    frame = decoded(make("AVIF", np.dstack([PHOTO, alpha]), quality=95))
    share = alpha[..., None] / 255
    assert mean_difference(frame.rgb, PHOTO * share + 255 * (1 - share)) < 3


def test_opacity_of_rotated_heic_is_upright():
    alpha = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (96, 1))
    layout = with_alpha(heif_layout(hevc_item(PHOTO, irot(1)), b"heic"), alpha)
    with pytest.raises(UndecodableImage):
        read_header(heif_file(layout))
    layout = with_alpha(heif_layout(hevc_item(PHOTO, irot(1)), b"heic"), alpha, irot(1))
    opacity = decoded(heif_file(layout)).opacity
    assert mean_difference(opacity, np.rot90(alpha)) < 1


@pytest.mark.parametrize(("make_item", "brand"), ITEMS)
def test_primary_image_is_decoded_among_several(make_item, brand):
    items = [make_item(quadrants()), make_item(PHOTO, irot(1)), make_item(person(64, 64))]
    frame = decoded(heif_file(Layout(items, primary=2, brand=brand)))
    assert mean_difference(frame.rgb, np.rot90(PHOTO)) < 2


def test_thumbnail_and_auxiliary_images_are_not_decoded():
    gain_map = hevc_item(person(64, 64), (b"auxC", bytes(4) + b"urn:com:apple:gainmap\0"))
    broken = HeifItem(b"hvc1", b"\0" * 40, (ispe(64, 64), *hevc_item(person(64, 64)).properties))
    layout = Layout(
        [hevc_item(PHOTO), gain_map, broken],
        [(b"auxl", 2, [1]), (b"thmb", 3, [1])],
        brand=b"heic",
    )
    assert mean_difference(decoded(heif_file(layout)).rgb, PHOTO) < 2


def test_heif_sequence_with_primary_image_is_a_still():
    burst = heif_file(heif_layout(hevc_item(PHOTO), b"hevc")) + box(b"moov", box(b"free", b""))
    assert mean_difference(decoded(burst).rgb, PHOTO) < 2


def test_trailing_video_of_motion_photo_is_ignored():
    """Samsung appends a box `mpvd` with a video."""
    video = box(b"mpvd", box(b"ftyp", b"isom\0\0\2\0isommp42") + box(b"mdat", b"\xff\xda" * 999))
    assert mean_difference(decoded(make_heic(PHOTO) + video).rgb, PHOTO) < 2


@pytest.mark.parametrize("make_file", MAKERS)
@pytest.mark.parametrize("trailer", [bytes(3), b"SEFH" + bytes(range(60)) + b"SEFT", b"\xff" * 99])
def test_trailer_that_is_no_box_is_ignored(make_file, trailer):
    image = make_file(PHOTO)
    np.testing.assert_array_equal(decoded(image + trailer).rgb, decoded(image).rgb)


def test_animated_avif_has_several_frames():
    assert read_header(make_animated("AVIF", frames=3)).frames == 3


def without(data, kind):
    """Renames every box of a type, which readers then ignore."""
    return data.replace(kind, b"free")


@pytest.mark.parametrize("make_file", MAKERS)
@pytest.mark.parametrize("kind", [b"meta", b"pitm", b"iloc", b"ispe", b"ipma"])
def test_heif_without_needed_box_is_undecodable(make_file, kind):
    with pytest.raises(UndecodableImage):
        read_header(without(make_file(PHOTO), kind))


@pytest.mark.parametrize("kind", [b"jpeg", b"avc1", b"iovl", b"\0\xff\0\0"])
def test_primary_image_of_other_coding_is_unsupported(kind):
    data = make_heic(PHOTO)
    at = data.index(b"infe") + 12
    with pytest.raises(UnsupportedImageType):
        read_header(data[:at] + kind + data[at + 4 :])


@pytest.mark.parametrize(("make_item", "brand"), ITEMS)
@pytest.mark.parametrize("size", [(128, 400), (2_000, 96), (100, 40)])
def test_declared_size_that_disagrees_with_coded_one_is_undecodable(make_item, brand, size):
    with pytest.raises(UndecodableImage):
        decoded(heif_file(heif_layout(make_item(person(96, 248), size=size), brand)))


@pytest.mark.parametrize(("make_item", "brand"), ITEMS)
def test_large_coded_picture_behind_small_size_is_refused_by_header(make_item, brand):
    item = make_item(person(64, 640), size=(64, 64))
    with pytest.raises(UndecodableImage):
        read_header(heif_file(heif_layout(item, brand)))


def test_grid_bomb_is_refused_by_its_header():
    """The grid shows one small tile 4,000 times."""
    tile = hevc_item(person(64, 64))
    content = struct.pack(">BBBBHH", 0, 0, 39, 99, 6_400, 2_560)
    grid = HeifItem(b"grid", content, (ispe(6_400, 2_560),))
    layout = Layout([grid, tile], [(b"dimg", 1, [2] * 4_000)], brand=b"heic")
    header = read_header(heif_file(layout))
    with pytest.raises(TooManyPixels) as refused:
        check_limits(header, ImageLimits(pixels=16_000_000))
    assert refused.value.actual == 6_400 * 2_560


@pytest.mark.parametrize(("make_item", "brand"), ITEMS)
def test_huge_declared_size_is_undecodable(make_item, brand):
    item = make_item(PHOTO, size=(2**31, 2**31))
    with pytest.raises(UndecodableImage):
        read_header(heif_file(heif_layout(item, brand)))


@pytest.mark.parametrize("change", ["rows", "size", "tile"])
def test_grid_that_its_tiles_do_not_form_is_undecodable(change):
    layout = grid_layout(person(100, 130), 64)
    grid, *tiles = layout.items
    if change == "rows":
        grid = HeifItem(grid.kind, grid.data[:2] + b"\0" + grid.data[3:], grid.properties)
    elif change == "size":
        grid = HeifItem(grid.kind, grid.data[:-1] + b"\x7f", grid.properties)
    else:
        tiles[1] = hevc_item(person(64, 72))
    with pytest.raises(UndecodableImage):
        read_header(heif_file(Layout([grid, *tiles], layout.references, brand=b"heic")))


def test_alpha_of_another_size_is_undecodable():
    layout = with_alpha(heif_layout(hevc_item(PHOTO), b"heic"), np.zeros((64, 64), np.uint8))
    with pytest.raises(UndecodableImage):
        read_header(heif_file(layout))


@pytest.mark.parametrize(("item_of", "brand"), [(hevc_item, b"heic"), (av1_item, b"avif")])
def test_image_with_too_many_slices_or_frames_is_undecodable(item_of, brand):
    item = item_of(PHOTO)
    flood = HeifItem(item.kind, item.data * (MAX_SLICES + 1), item.properties)
    with pytest.raises(UndecodableImage) as refused:
        read_header(heif_file(heif_layout(flood, brand)))
    assert refused.value.limit == MAX_SLICES


def test_heif_with_too_many_items_is_undecodable():
    metadata = HeifItem(b"mime", b"")
    layout = Layout([hevc_item(PHOTO), *[metadata] * MAX_ITEMS], brand=b"heic")
    with pytest.raises(UndecodableImage) as refused:
        read_header(heif_file(layout))
    assert refused.value.limit == MAX_ITEMS


@pytest.mark.parametrize("name", [b"Exif\0", b"application/rdf+xml\0"])
def test_heif_with_item_text_that_is_not_utf8_is_undecodable(name):
    layout = heif_layout(hevc_item(PHOTO), b"heic", exif_block(1), xmp_packet(1))
    data = heif_file(layout)
    assert data.count(name) == 1
    with pytest.raises(UndecodableImage, match="not UTF-8"):
        read_header(data.replace(name, b"\xb8" + name[1:]))


@pytest.mark.parametrize("data", [make_heic(PHOTO), heif_file(grid_layout(PHOTO, 64))])
def test_heic_truncated_in_its_pixels_is_undecodable(data):
    for length in range(data.index(b"mdat") + 4, len(data), 997):
        with pytest.raises(UndecodableImage):
            decoded(data[:length])


def test_heic_without_pi_heif_names_the_extra(monkeypatch):
    def missing(name):
        raise ImportError(name)

    heic._pi_heif.cache_clear()
    monkeypatch.setattr(heic, "import_module", missing)
    with pytest.raises(NotInstalled, match=r"silhouette-seg\[serve\]"):
        decoded(make_heic(PHOTO))
