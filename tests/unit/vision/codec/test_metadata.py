"""Tests of the resolution, artist and copyright that results keep, and of all that they do not."""

import io
import struct
from itertools import product

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from silhouette_seg.vision.codec import encode as module
from silhouette_seg.vision.codec.encode import ImageFormat, encode
from silhouette_seg.vision.codec.formats import read_header
from silhouette_seg.vision.codec.metadata import (
    MAX_TEXT_BYTES,
    NO_METADATA,
    PrintMetadata,
    read_metadata,
)
from tests.support.heif import heif_file, heif_layout, hevc_item
from tests.support.images import jpeg_segment, make, make_jpeg, person, png_with

ARTIST, COPYRIGHT = "Jürgen 漢", "© 2026 Jürgen"
SMALL = person(64, 96)
KEPT_TAGS = {282, 283, 296, 315, 33_432}
XMP = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
    ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" tiff:XResolution="300/1"'
    ' exif:GPSLatitude="52,31.2N" exif:GPSLongitude="13,24.5E"><tiff:YResolution>300/1'
    "</tiff:YResolution><tiff:ResolutionUnit>2</tiff:ResolutionUnit><dc:creator><rdf:Seq>"
    f"<rdf:li>{ARTIST}</rdf:li></rdf:Seq></dc:creator><dc:rights><rdf:Alt>"
    f'<rdf:li xml:lang="x-default">{COPYRIGHT}</rdf:li></rdf:Alt></dc:rights>'
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def exif_block(dpi=(300, 300), unit=2, artist=ARTIST, copyright=COPYRIGHT, orientation=None):
    """Returns an EXIF block as a camera writes it: with a location, a lens and a serial number."""
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = IFDRational(dpi[0]), IFDRational(dpi[1]), unit
    exif[315], exif[33_432] = artist.encode(), copyright.encode()
    exif[0x010F], exif[0x0110] = "Maker", "Model"
    if orientation is not None:  # Pillow writes the EXIF block of an AVIF anew if it has one
        exif[0x0112] = orientation
    exif.get_ifd(0x8769).update({0xA431: "serial 4711", 0x927C: b"maker note"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 30.0)})
    return exif.tobytes()


def heic_with(exif=b"", xmp=b""):
    return heif_file(heif_layout(hevc_item(SMALL), b"heic", exif, xmp))


def metadata_of(photo):
    return read_metadata(read_header(photo))


WITH_EXIF = {
    **{
        format: make(format, SMALL, exif=exif_block()) for format in ("JPEG", "PNG", "WEBP", "AVIF")
    },
    "HEIC": heic_with(exif_block()),
}


@pytest.mark.parametrize("format", WITH_EXIF)
def test_metadata_in_exif_is_read_from_every_format(format):
    photo = WITH_EXIF[format]
    assert b"4711" in photo
    assert metadata_of(photo) == PrintMetadata((300, 300), ARTIST, COPYRIGHT)


def png_with_xmp(xmp):
    return png_with(make("PNG", SMALL), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))


@pytest.mark.parametrize(
    "photo",
    [
        make("JPEG", SMALL, xmp=XMP.encode()),
        png_with_xmp(XMP.encode()),
        make("WEBP", SMALL, xmp=XMP.encode()),
        make("AVIF", SMALL, xmp=XMP.encode()),
        heic_with(xmp=XMP.encode()),
    ],
    ids=["jpeg", "png", "webp", "avif", "heic"],
)
def test_metadata_in_xmp_is_read_from_every_format(photo):
    metadata = metadata_of(photo)
    assert metadata.dpi == pytest.approx((300, 300))
    assert (metadata.artist, metadata.copyright) == (ARTIST, COPYRIGHT)


def test_metadata_of_tiff_is_read():
    tiff = make("TIFF", SMALL, dpi=(240, 240), artist="A", copyright="C")
    assert metadata_of(tiff) == PrintMetadata((240, 240), "A", "C")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "TIFF"])
def test_resolution_of_format_is_read(format):
    assert metadata_of(make(format, SMALL, dpi=(300, 150))).dpi == pytest.approx((300, 150), 1e-3)


def test_resolution_of_format_precedes_exif():
    photo = make("JPEG", SMALL, dpi=(96, 96), exif=exif_block())
    assert metadata_of(photo).dpi == (96, 96)


def test_resolution_in_centimetres_becomes_inches():
    photo = make("PNG", SMALL, exif=exif_block(dpi=(100, 50), unit=3))
    assert metadata_of(photo).dpi == pytest.approx((254, 127))


def test_resolution_of_rotated_photo_is_that_of_its_upright_sides():
    photo = make("PNG", SMALL, exif=exif_block(dpi=(300, 100), orientation=6))
    assert metadata_of(photo).dpi == (100, 300)


@pytest.mark.parametrize("dpi", [(0, 0), (70_000, 70_000)])
def test_resolution_out_of_range_is_left_out(dpi):
    assert metadata_of(make("PNG", SMALL, exif=exif_block(dpi=dpi))).dpi is None


def test_copyright_of_photographer_and_editor_is_joined():
    photo = make("PNG", SMALL, exif=exif_block(copyright="Photo A\0Edit B"))
    assert metadata_of(photo).copyright == "Photo A; Edit B"


def test_text_over_limit_is_left_out_with_warning():
    photo = make("PNG", SMALL, exif=exif_block(artist="a" * (MAX_TEXT_BYTES + 1)))
    metadata = metadata_of(photo)
    assert (metadata.artist, metadata.copyright) == ("", COPYRIGHT)
    assert "artist" in metadata.warning
    assert f"{MAX_TEXT_BYTES + 1} bytes" in metadata.warning


@pytest.mark.parametrize(
    "xmp",
    [
        b"",
        b"<x:xmpmeta>",
        b"not XML",
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b'<!DOCTYPE a [<!ENTITY b "bb">]>' + XMP.replace(ARTIST, "&b;").encode(),
        XMP.encode() + b" " * 2**20,
    ],
)
def test_unusable_xmp_is_ignored(xmp):
    assert metadata_of(png_with_xmp(xmp)) == NO_METADATA


@pytest.mark.parametrize("length", range(0, 200, 7))
def test_truncated_exif_raises_nothing(length):
    exif = exif_block()
    segment = jpeg_segment(0xE1, exif[: len(exif) * length // 200])
    jpeg = make_jpeg(SMALL)
    metadata_of(jpeg[:2] + segment + jpeg[2:])


IMAGES = {"mask": SMALL[..., 0], "composite": SMALL, "cut-out": np.dstack([SMALL, SMALL[..., 0]])}


@pytest.mark.parametrize(
    ("name", "format"),
    [pair for pair in product(IMAGES, ImageFormat) if pair != ("cut-out", ImageFormat.JPEG)],
)
def test_result_has_metadata_and_same_pixels(name, format):
    metadata = PrintMetadata((300, 150), ARTIST, COPYRIGHT)
    data, without = encode(IMAGES[name], format, metadata), encode(IMAGES[name], format)
    with Image.open(io.BytesIO(data)) as image, Image.open(io.BytesIO(without)) as plain:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(plain))
        exif = image.getexif()
        assert exif.keys() == KEPT_TAGS
        assert (exif[282], exif[283], exif[296]) == (300, 150, 2)
        if format in (ImageFormat.PNG, ImageFormat.JPEG):
            assert image.info["dpi"] == pytest.approx((300, 150), 1e-3)
    again = metadata_of(data)
    assert again.dpi == pytest.approx((300, 150), 1e-3)
    assert (again.artist, again.copyright) == (ARTIST, COPYRIGHT)


def test_png_of_other_writer_has_metadata(monkeypatch):
    monkeypatch.setattr(module, "isal_zlib", None)
    data = encode(SMALL, ImageFormat.PNG, PrintMetadata((300, 300), ARTIST))
    assert metadata_of(data).artist == ARTIST
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), SMALL)


@pytest.mark.parametrize("format", ImageFormat)
def test_result_without_metadata_has_none(format):
    data = encode(SMALL, format)
    assert b"Exif" not in data
    assert metadata_of(data) == NO_METADATA


@pytest.mark.parametrize("format", ImageFormat)
def test_longest_texts_fit_into_every_format(format):
    text = "x" * MAX_TEXT_BYTES
    data = encode(SMALL, format, PrintMetadata(None, text, text))
    assert metadata_of(data) == PrintMetadata(None, text, text)


def test_density_without_unit_is_no_resolution():
    jpeg = make_jpeg(SMALL)
    assert struct.unpack_from(">BHH", jpeg, 13)[0] == 0
    assert metadata_of(jpeg).dpi is None
