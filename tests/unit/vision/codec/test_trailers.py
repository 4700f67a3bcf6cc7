"""JPEG files with more than one picture: burst files, gain maps, trailers of phones."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from silhouette_seg.vision.codec.decode import MAX_SCANS, decode, read_header
from tests.support.images import jpeg_segment, jpeg_with, make_jpeg, person

STILL = make_jpeg(person(96, 128), orientation=6)
SECOND = make_jpeg(person(64, 64), progressive=True, orientation=3)
GAIN_MAP_XMP = (
    b"http://ns.adobe.com/xap/1.0/\0<rdf:Description "
    b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
)


def multi_picture_index(sizes):
    """Returns the payload of an MPF segment (CIPA DC-007) for pictures of these bytes."""
    entries = b"".join(struct.pack(">IIIHH", 0x30000, size, 0, 0, 0) for size in sizes)
    tags = struct.pack(">HHI4s", 0xB000, 7, 4, b"0100")
    tags += struct.pack(">HHII", 0xB001, 4, 1, len(sizes))
    tags += struct.pack(">HHII", 0xB002, 7, len(entries), 50)
    return b"MPF\0MM\0*\0\0\0\x08" + struct.pack(">H", 3) + tags + bytes(4) + entries


def make_mpo():
    pictures = [Image.open(io.BytesIO(data)) for data in (STILL, SECOND)]
    buffer = io.BytesIO()
    pictures[0].save(
        *(buffer, "MPO"),
        save_all=True,
        append_images=pictures[1:],
        exif=pictures[0].getexif(),
        quality=95,
    )
    return buffer.getvalue()


def make_ultra_hdr():
    """Returns a photo with XMP and index of its gain map, which follows as a second JPEG."""
    index = multi_picture_index([len(STILL), len(SECOND)])
    return jpeg_with(STILL, (0xE1, GAIN_MAP_XMP), (0xE2, index)) + SECOND


def make_samsung():
    """Returns a photo with Samsung's trailer: named blocks, their directory, and its size."""
    name = b"MotionPhoto_Data"
    block = struct.pack("<HHI", 0, 0x0A30, len(name)) + name + b"\0\0\0\x18ftypmp42" + SECOND * 60
    head = struct.pack("<4sII", b"SEFH", 107, 1)
    directory = head + struct.pack("<HHII", 0, 0x0A30, len(block), len(block))
    return STILL + block + directory + struct.pack("<I4s", len(directory), b"SEFT")


def make_thumbnail(marker=0xE1, prefix=b"Exif\0\0"):
    """Returns a photo with a thumbnail that has ten scans of its own, in each of 20 segments."""
    thumbnail = make_jpeg(person(16, 16), progressive=True)
    segments = jpeg_segment(marker, prefix + thumbnail) * 20
    at = STILL.index(b"\xff\xdb")
    return STILL[:at] + segments + STILL[at:]


def make_preview():
    """Returns a photo with a preview behind it, as cameras add it."""
    return STILL + b"\0" * 512 + SECOND * (MAX_SCANS + 1)


@pytest.mark.parametrize(
    "make_file", [make_mpo, make_ultra_hdr, make_samsung, make_thumbnail, make_preview]
)
@pytest.mark.parametrize("min_size", [None, (32, 24)])
def test_photo_with_further_pictures_decodes_like_its_still(make_file, min_size):
    photo = make_file()
    header = read_header(photo)
    assert (header.upright_hw, header.orientation, header.frames) == ((128, 96), 6, 1)
    expected = decode(STILL, read_header(STILL), min_size=min_size)
    result = decode(photo, header, min_size=min_size)
    assert result.rgb.shape == expected.rgb.shape
    assert np.abs(result.rgb.astype(int) - expected.rgb).mean() < 3
