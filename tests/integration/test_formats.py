"""HEIC, AVIF, TIFF, BMP and GIF on every route, and in folders.

The model's alpha is the red channel, so red and white parts of a photo are the person.
"""

import io

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.integration.batch_client import parts_of, send
from tests.integration.pictures import picture, pixels, refusal
from tests.integration.stream_client import frame, result_of, streaming
from tests.support.heif import TURNS, grid_layout, heif_file, irot, make_avif, make_heic
from tests.support.images import jpeg_of_coding, make, make_animated, make_png, quadrants, stored

HEIGHT, WIDTH = 64, 96
PHOTO = make_png(quadrants(HEIGHT, WIDTH))
FILES = {
    "heic": make_heic(stored(quadrants(), 6), *TURNS[6]),
    "heif": heif_file(grid_layout(quadrants(), 64)),
    "hif": make_heic(quadrants(), format="yuv444p10le"),
    "avif": make_avif(stored(quadrants(), 7), *TURNS[7]),
    "tif": make("TIFF", stored(quadrants(), 8), orientation=8, compression="tiff_lzw"),
    "bmp": make("BMP", quadrants()),
    "gif": make("GIF", quadrants(), mode="P"),
}
FORMATS = [pytest.param(data, id=name) for name, data in FILES.items()]


def assert_same(result, expected):
    assert result.shape == expected.shape
    assert np.abs(result.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("photo", FORMATS)
@pytest.mark.parametrize("query", ["", "?output=cutout", "?output=composite&background=blur:4"])
async def test_photo_of_every_format_gives_the_result_of_its_png(service, photo, query):
    expected = picture(await service.segment(PHOTO, query))
    assert_same(picture(await service.segment(photo, query)), expected)
    assert_same(picture(await service.form(("image", photo), query=query)), expected)


@pytest.mark.parametrize("photo", FORMATS)
async def test_background_of_every_format_is_used(service, photo):
    options = (("image", PHOTO), ("output", "composite"))
    answer = await service.form(*options, ("background_image", photo))
    expected = await service.form(*options, ("background_image", PHOTO))
    assert_same(picture(answer), picture(expected))


@pytest.mark.parametrize("photo", FORMATS)
async def test_removebg_accepts_every_format(service, photo):
    async def remove(data):
        files = {"image_file": ("photo", data)}
        return picture(await service.client.post("/v1.0/removebg", files=files))

    assert_same(await remove(photo), await remove(PHOTO))


async def test_batch_accepts_every_format(service):
    parts = parts_of(await send(service, *FILES.values(), PHOTO))
    assert [part.status for part in parts] == [200] * (len(FILES) + 1)
    for part in parts:
        assert_same(pixels(part.body), pixels(parts[-1].body))


@pytest.mark.parametrize("photo", FORMATS)
async def test_stream_accepts_frames_of_every_format(service, photo):
    async with streaming(service.app) as peer:
        masks = []
        for seq, data in enumerate((PHOTO, photo)):
            peer.send(frame(seq, data))
            masks.append(pixels(result_of(await peer.receive())[2]))
    assert_same(masks[1], masks[0])


@pytest.mark.parametrize(
    ("marker", "bits", "reason"),
    [
        (0xC1, 12, "JPEG of 12 bits is not supported; it must have 8 bits."),
        (0xC3, 8, "Lossless JPEG is not supported; baseline and progressive JPEG are."),
    ],
)
async def test_unsupported_coding_of_jpeg_is_named_on_every_route(service, marker, bits, reason):
    photo = jpeg_of_coding(marker, bits)
    answers = [
        await service.segment(photo),
        await service.form(("image", PHOTO), ("output", "composite"), ("background_image", photo)),
    ]
    for answer in answers:
        detail = refusal(answer, 415, "unsupported_image_type")["detail"]
        assert reason.rstrip(".") in detail
    files = {"image_file": ("photo", photo)}
    removed = await service.client.post("/v1.0/removebg", files=files)
    assert reason.rstrip(".") in removed.text
    (part,) = parts_of(await send(service, photo))
    assert part.status == 415


async def test_first_frame_of_animated_gif_is_segmented(service):
    animated = make_animated("GIF")
    first = make_png(np.asarray(Image.open(io.BytesIO(animated)).convert("RGB")))
    mask = picture(await service.segment(animated))
    assert_same(mask, picture(await service.segment(first)))


async def test_rotated_heic_reports_its_upright_size(service):
    photo = make_heic(quadrants(HEIGHT, WIDTH), irot(1))
    report = (await service.segment(photo, accept="application/json")).json()
    assert (report["image"]["width"], report["image"]["height"]) == (HEIGHT, WIDTH)


def test_folder_of_every_format_is_segmented(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(repository))
    album = tmp_path / "album"
    album.mkdir()
    for suffix, data in FILES.items():
        (album / f"photo_{suffix}.{suffix}").write_bytes(data)
    results = tmp_path / "masks"
    run = CliRunner().invoke(app, ["segment", str(album), "-o", str(results)])
    assert run.exit_code == 0, run.output
    masks = [pixels(path.read_bytes()) for path in sorted(results.iterdir())]
    assert len(masks) == len(FILES)
    for mask in masks:
        assert mask.shape == (HEIGHT, WIDTH)
        assert_same(mask, masks[0])
