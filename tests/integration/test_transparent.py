"""Transparent photos on every route: the alpha of a result is nowhere above the photo's.

The model's alpha is the red channel. White behind the clear part would be a person.
"""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.integration.batch_client import parts_of, send
from tests.integration.pictures import picture, pixels
from tests.integration.stream_client import frame, result_of, streaming
from tests.support.images import avatar, cut_out_person, make, make_png

HEIGHT, WIDTH = 96, 128
PERSON = (slice(36, 60), slice(36, 54))
"""Rows and columns inside the person of `avatar`."""


@pytest.fixture(scope="module")
def photo() -> bytes:
    return make_png(avatar(HEIGHT, WIDTH))


def assert_limited(alpha: np.ndarray) -> None:
    """Checks a mask of `avatar`: its person is there, and clear pixels stay clear."""
    assert alpha.shape == (HEIGHT, WIDTH)
    assert (alpha <= avatar(HEIGHT, WIDTH)[..., 3]).all()
    assert alpha[PERSON].min() > 250


@pytest.mark.parametrize("path", ["/segment", "/v1/segment"])
@pytest.mark.parametrize("query", ["", "?output=cutout", "?grow=20&feather=9", "?threshold=0.2"])
async def test_result_of_avatar_keeps_its_transparency(service, photo, path, query):
    answer = await service.client.post(
        f"{path}{query}", content=photo, headers={"content-type": "image/png"}
    )
    image = picture(answer)
    assert_limited(image if image.ndim == 2 else image[..., 3])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
async def test_palette_and_lossless_avatars_keep_their_transparency(service, kind):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    image = picture(await service.segment(make(kind, avatar(HEIGHT, WIDTH), **options)))
    assert_limited(image)


async def test_composite_of_avatar_is_background_where_it_is_clear(service, photo):
    image = picture(await service.segment(photo, "?output=composite&background=%230000ff"))
    assert image[4, 4].tolist() == [0, 0, 255]
    assert image[48, 40].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["cutout", "cutout&threshold=0.5", "cutout&decontaminate=false"])
async def test_cut_out_sent_again_is_returned_whole(service, mode):
    first = await service.segment(make_png(cut_out_person()), f"?output={mode}")
    again = await service.segment(first.content, f"?output={mode}")
    assert (picture(first)[..., 3] == cut_out_person()[..., 3]).all()
    assert again.content == first.content
    assert again.headers["x-foreground"] == "present"


async def test_report_of_avatar_measures_what_is_visible(service, photo):
    answer = await service.segment(photo, accept="application/json")
    report = json.loads(answer.content)
    visible = (avatar(HEIGHT, WIDTH)[..., 3] > 127).mean()
    assert report["foreground"]["present"]
    assert report["mask"]["coverage"] == pytest.approx(visible / 2, abs=0.05)
    box = report["foreground"]["box"]
    assert box["left"] >= 24
    assert box["left"] + box["width"] <= WIDTH // 2 + 4


async def test_batch_result_of_avatar_is_that_of_a_single_request(service, photo):
    (part,) = parts_of(await send(service, photo, query="?output=cutout"))
    assert_limited(pixels(part.body)[..., 3])
    assert part.body == (await service.segment(photo, "?output=cutout")).content


@pytest.mark.parametrize("fields", [{}, {"channels": "alpha"}, {"roi": "0% 0% 90% 100%"}])
async def test_removebg_result_of_avatar_keeps_its_transparency(service, photo, fields):
    files = {"image_file": ("photo.png", photo)}
    answer = await service.client.post(
        "/v1.0/removebg", files=files, data={"size": "full", "format": "png", **fields}
    )
    image = picture(answer)
    assert_limited(image if image.ndim == 2 else image[..., 3])


async def test_removebg_returns_a_small_cut_out_whole(service):
    files = {"image_file": ("photo.png", make_png(cut_out_person(800, 1000)))}
    answer = await service.client.post("/v1.0/removebg", files=files, data={"format": "png"})
    alpha = picture(answer)[..., 3].astype(float)
    whole = cut_out_person(800, 1000)[..., 3].astype(float)
    assert alpha.size <= 250_000
    assert alpha.mean() >= 0.99 * whole.mean()


@pytest.mark.parametrize("output", ["mask", "cutout"])
async def test_stream_result_of_avatar_keeps_its_transparency(service, photo, output):
    async with streaming(service.app, output=output, smoothing=0) as peer:
        peer.send(frame(0, photo))
        _, _, body = result_of(await peer.receive())
    image = pixels(body)
    assert_limited(image if image.ndim == 2 else image[..., 3])


async def test_stream_scales_the_transparency_with_the_frame(service, photo):
    async with streaming(service.app, output="cutout", smoothing=0, size=64) as peer:
        peer.send(frame(0, photo))
        _, result, body = result_of(await peer.receive())
    alpha = pixels(body)[..., 3]
    assert (result.height, result.width) == alpha.shape == (48, 64)
    assert alpha[0].max() == 0
    assert alpha[24, 20] > 250


def test_command_keeps_the_transparency_of_avatar(repository, monkeypatch, tmp_path, photo):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(repository))
    source = tmp_path / "avatar.png"
    source.write_bytes(photo)
    arguments = ["segment", str(source), "-o", str(tmp_path / "out"), "--output", "cutout"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert_limited(pixels((tmp_path / "out" / "avatar.png").read_bytes())[..., 3])
