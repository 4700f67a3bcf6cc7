"""GIF, of which the first frame counts, and BMP."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from silhouette_seg.errors import UndecodableImage, UnsupportedImageType
from silhouette_seg.vision.codec.decode import decode, read_header
from silhouette_seg.vision.codec.header import MAX_SEGMENTS
from tests.support.images import make, make_animated, make_gif, person

PHOTO = person(48, 64)


def decoded(data):
    return decode(data, read_header(data)).rgb


def first_frame(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("gif", [make_gif(), make_animated("GIF"), make("GIF", PHOTO, mode="L")])
def test_first_frame_of_gif_is_decoded(gif):
    header = read_header(gif)
    assert (header.upright_hw, header.frames) == ((48, 64), 1)
    np.testing.assert_array_equal(decoded(gif), first_frame(gif))


def test_interlaced_gif_is_decoded():
    gif = make("GIF", PHOTO, mode="P", interlace=1)
    np.testing.assert_array_equal(decoded(gif), first_frame(gif))


def test_transparent_colour_of_gif_becomes_white():
    image = Image.new("P", (20, 10), 1)
    image.putpalette([0, 0, 255, 255, 0, 0])
    image.paste(0, (0, 0, 5, 10))
    rgb = decoded(make("GIF", image, transparency=0))
    assert (rgb[:, :5] == 255).all()
    assert (rgb[:, 5:] == (255, 0, 0)).all()


def test_frame_of_gif_beyond_its_screen_enlarges_it():
    gif = bytearray(make("GIF", PHOTO, mode="P"))
    gif[6:10] = struct.pack("<HH", 10, 10)
    assert read_header(bytes(gif)).upright_hw == (48, 64)
    assert decoded(bytes(gif)).shape == (48, 64, 3)


def test_small_frame_on_a_large_screen_has_the_size_of_the_screen():
    gif = bytearray(make("GIF", PHOTO, mode="P"))
    gif[6:10] = struct.pack("<HH", 100, 90)
    assert decoded(bytes(gif)).shape == (90, 100, 3)


def test_comments_of_gif_are_not_passed_to_its_decoder():
    gif = make_gif()
    start = 13 + (3 << (gif[10] & 7) + 1)
    comment = b"!\xfe" + b"\x03abc" * 500 + b"\0"
    np.testing.assert_array_equal(decoded(gif[:start] + comment + gif[start:]), decoded(gif))
    flood = gif[:start] + b"!\xfe" + b"\x03abc" * (MAX_SEGMENTS + 1) + b"\0" + gif[start:]
    with pytest.raises(UndecodableImage) as refused:
        read_header(flood)
    assert refused.value.limit == MAX_SEGMENTS


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_gif_is_undecodable(share):
    gif = make_gif()
    with pytest.raises(UndecodableImage):
        decoded(gif[: int(len(gif) * share)])


def test_gif_without_frame_is_undecodable():
    with pytest.raises(UndecodableImage):
        read_header(make_gif()[:13] + b";" * 900)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_bmp_of_every_mode_is_exact(mode):
    image = Image.fromarray(PHOTO)
    image = image.quantize(64) if mode == "P" else image.convert(mode)
    np.testing.assert_array_equal(decoded(make("BMP", image)), np.asarray(image.convert("RGB")))


MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
ALPHA_MASK = struct.pack("<I", 0xFF000000)


def bmp(alpha=0, *, compression=0, header_bytes=40, masks=b"", top_down=False, bits=32, rows=b""):
    """Returns a BMP of PHOTO with a fourth byte of `alpha`, or with other rows of pixels."""
    height, width = PHOTO.shape[:2]
    pixels = np.dstack([PHOTO[..., ::-1], np.full((height, width), alpha, np.uint8)])
    rows = rows or (pixels if top_down else pixels[::-1]).tobytes()
    sizes = (width, -height if top_down else height, 1, bits, compression, 0, 0, 0, 0, 0)
    header = struct.pack("<IiiHHIIiiII", header_bytes, *sizes) + masks
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + rows


@pytest.mark.parametrize(
    "data",
    [
        bmp(0),
        bmp(77),
        bmp(0, top_down=True),
        bmp(0, compression=3, masks=MASKS),
        bmp(77, compression=0, header_bytes=108, masks=MASKS + ALPHA_MASK + bytes(52)),
    ],
    ids=["zero", "any", "top down", "bit fields", "version 4"],
)
def test_fourth_byte_of_bmp_without_alpha_is_ignored(data):
    np.testing.assert_array_equal(decoded(data), PHOTO)


@pytest.mark.parametrize("alpha", [0, 77, 255])
def test_alpha_of_bmp_is_flattened_on_white(alpha):
    data = bmp(alpha, compression=3, header_bytes=56, masks=MASKS + ALPHA_MASK)
    expected = (PHOTO.astype(int) * alpha + 255 * (255 - alpha)) / 255
    assert np.abs(decoded(data) - expected).max() <= 1


@pytest.mark.parametrize(("red", "green", "masks"), [(11, 6, (0xF800, 0x7E0, 0x1F)), (10, 5, ())])
def test_bmp_of_16_bits_is_decoded(red, green, masks):
    channels = PHOTO.astype(np.uint16)
    packed = (channels[..., 0] >> 3 << red) | (channels[..., 1] >> (8 - green) << 5)
    rows = (packed | channels[..., 2] >> 3)[::-1].astype("<u2").tobytes()
    bit_fields = struct.pack(f"<{len(masks)}I", *masks)
    data = bmp(bits=16, rows=rows, masks=bit_fields, compression=3 if masks else 0)
    assert np.abs(decoded(data).astype(int) - PHOTO).max() <= 8


def test_run_length_coded_bmp_is_decoded():
    grey = PHOTO[::-1, :, 0]
    rows = b"".join(b"".join(bytes((1, level)) for level in row) + b"\0\0" for row in grey)
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    data = bmp(bits=8, compression=1, masks=palette, rows=rows + b"\0\1")
    np.testing.assert_array_equal(decoded(data), np.dstack([grey[::-1]] * 3))


@pytest.mark.parametrize(
    "options",
    [
        {"compression": 4},
        {"compression": 5},
        {"bits": 24, "compression": 3, "masks": MASKS},
        {"compression": 3, "masks": MASKS[::-1]},
        {"bits": 7},
    ],
    ids=["JPEG", "PNG", "bit fields of 24", "other masks", "7 bits"],
)
def test_bmp_of_unusual_coding_is_unsupported(options):
    with pytest.raises(UnsupportedImageType):
        read_header(bmp(**options))


def test_truncated_bmp_is_undecodable():
    data = bmp()
    for length in (20, 40, 54, 100, len(data) - 1):
        with pytest.raises(UndecodableImage):
            read_header(data[:length])
