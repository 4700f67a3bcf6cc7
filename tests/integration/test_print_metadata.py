"""`keep_metadata` on every route: resolution, artist and copyright stay, and the location never."""

import io

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.integration.batch_client import parts_of, send
from tests.integration.pictures import picture
from tests.support.heif import heif_file, heif_layout, hevc_item
from tests.support.images import make, quadrants

ARTIST, COPYRIGHT = 315, 33_432
LOCATION = b"52.5163N"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="'
    + LOCATION
    + b'"/></rdf:RDF></x:xmpmeta>'
)
QUERIES = [
    "?output=mask",
    "?output=mask&format=avif",
    "?output=cutout",
    "?output=cutout&format=webp",
    "?output=cutout&format=avif",
    "?output=composite&format=jpeg",
]


def exif_block():
    exif = Image.Exif()
    exif[282] = exif[283] = IFDRational(300)
    exif[296], exif[ARTIST], exif[COPYRIGHT] = 2, "Jane", "2026 Jane"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 58.68), 29: LOCATION.decode()})
    return exif.tobytes()


PHOTO = make("JPEG", quadrants(), exif=exif_block(), xmp=XMP)
HEIC = heif_file(heif_layout(hevc_item(quadrants()), b"heic", exif_block(), XMP))


def assert_kept(body):
    with Image.open(io.BytesIO(body)) as image:
        exif = image.getexif()
        assert exif.keys() == {282, 283, 296, ARTIST, COPYRIGHT}
        assert (exif[282], exif[ARTIST], exif[COPYRIGHT]) == (300, "Jane", "2026 Jane")
    assert LOCATION not in body


def assert_nothing_kept(body):
    with Image.open(io.BytesIO(body)) as image:
        assert not image.getexif()
        assert "xmp" not in image.info
    assert LOCATION not in body


@pytest.mark.parametrize("query", QUERIES)
async def test_segment_keeps_metadata_only_on_request(service, query):
    assert LOCATION in PHOTO
    kept = await service.segment(PHOTO, f"{query}&keep_metadata=true")
    assert_kept(kept.content)
    without = await service.segment(PHOTO, query)
    assert_nothing_kept(without.content)
    assert kept.headers["etag"] != without.headers["etag"]


async def test_segment_keeps_metadata_of_heic(service):
    assert_kept((await service.segment(HEIC, "?keep_metadata=true")).content)


async def test_background_gives_its_metadata_to_no_result(service):
    fields = (("output", "composite"), ("keep_metadata", "true"))
    photo = make("PNG", quadrants())
    answer = await service.form(("image", photo), ("background_image", PHOTO), *fields)
    picture(answer)
    assert_nothing_kept(answer.content)


async def test_batch_keeps_metadata_on_request(service):
    for part in parts_of(await send(service, PHOTO, HEIC, keep_metadata="true")):
        assert_kept(part.body)


async def test_removebg_keeps_no_metadata(service):
    answer = await service.client.post("/v1.0/removebg", files={"image_file": ("a.jpg", PHOTO)})
    assert answer.status_code == 200
    assert_nothing_kept(answer.content)


async def test_too_long_artist_is_left_out_with_warning(service):
    exif = Image.Exif()
    exif[ARTIST], exif[COPYRIGHT] = "a" * 9000, "2026 Jane"
    photo = make("JPEG", quadrants(), exif=exif.tobytes())
    answer = await service.segment(photo, "?keep_metadata=true")
    assert "artist of the photo has 9000 bytes" in answer.headers["x-input-warning"]
    assert Image.open(io.BytesIO(answer.content)).getexif().keys() == {COPYRIGHT}
    assert "x-input-warning" not in (await service.segment(photo)).headers


def test_command_keeps_metadata_on_request(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(repository))
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    for options, check in (((), assert_nothing_kept), (("--keep-metadata",), assert_kept)):
        arguments = ["segment", str(tmp_path / "photo.jpg"), "-o", str(tmp_path / "out.png")]
        result = CliRunner().invoke(app, [*arguments, *options])
        assert result.exit_code == 0, result.output
        check((tmp_path / "out.png").read_bytes())
