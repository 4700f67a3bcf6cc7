"""`POST /v1.0/removebg`: clients of remove.bg work here, by a public one of them and by hand.

The model's alpha is the red channel, so red and white parts of a photo are "person".
"""

import asyncio
import base64
import gzip
import io
import json
import logging
import zipfile
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import removebg.removebg as public_client
import requests

from silhouette_seg.errors import EngineFailed
from silhouette_seg.lifecycle import drain
from tests.integration.conftest import InProcess, OnSocket, in_process, on_socket, until
from tests.integration.pictures import picture, pixels
from tests.support.bad_images import BAD_IMAGES
from tests.support.images import make_jpeg, make_png, mutated, quadrants

PATH = "/v1.0/removebg"
HEIGHT, WIDTH = 64, 96
PHOTO = make_png(quadrants(HEIGHT, WIDTH))
BASE64 = base64.b64encode(PHOTO).decode()
NOBODY = make_png(np.zeros((40, 60, 3), np.uint8))
RED, GREEN = (16, 24), (16, 72)
AS_JSON = {"content-type": "application/json"}


def left_half(height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """A person on the left half, from top to bottom."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 255
    return make_png(image)


def error_of(answer: httpx.Response, status: int, code: str) -> dict[str, str]:
    assert answer.headers["content-type"] == "application/json", answer.text[:200]
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert document.keys() == {"errors"}
    (error,) = document["errors"]
    assert error.keys() == {"title", "code", "detail"}
    assert all(isinstance(value, str) and value for value in error.values())
    assert error["code"] == code, error
    return error


async def post(service: InProcess, photo: bytes = PHOTO, **fields: Any) -> httpx.Response:
    """By multipart; bytes are files."""
    files = {"image_file": ("photo.png", photo)} | {
        name: (name, value) if isinstance(value, bytes) else (None, value)
        for name, value in fields.items()
    }
    return await service.client.post(PATH, files=files)


@pytest.fixture(autouse=True)
async def nothing_is_left(service) -> AsyncIterator[None]:
    yield
    await until(lambda: service.gateway.requests.count == 0)
    assert service.gateway.photo_queue.running == 0
    assert service.gateway.body_memory.reserved == 0


# The package `removebg`, which knows nothing of us but the address.


@pytest.fixture(scope="module")
def served(settings_with) -> Iterator[OnSocket]:
    with on_socket(settings_with(api_keys="sesame")) as running:
        yield running


@pytest.fixture
def public(served, monkeypatch, tmp_path) -> public_client.RemoveBg:
    """Its log goes to a file of the test's, and not to every test that follows."""
    monkeypatch.setattr(public_client, "API_ENDPOINT", served.url + PATH)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    return public_client.RemoveBg("sesame", str(tmp_path / "errors.log"))


def test_public_client_sends_a_file(public, tmp_path):
    (tmp_path / "photo.png").write_bytes(PHOTO)
    public.remove_background_from_img_file(str(tmp_path / "photo.png"), size="full")
    image = pixels((tmp_path / "photo.png_no_bg.png").read_bytes())
    assert image.shape == (HEIGHT, WIDTH, 4)
    assert [image[RED].tolist(), image[GREEN].tolist()] == [[255, 0, 0, 255], [0, 0, 0, 0]]


def test_public_client_sends_base64_and_a_colour(public, tmp_path):
    result = tmp_path / "blue.png"
    public.remove_background_from_base64_img(BASE64, new_file_name=str(result), bg_color="blue")
    image = pixels(result.read_bytes())
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image[GREEN].tolist() == pytest.approx([0, 0, 255], abs=12)  # a JPEG


def test_public_client_is_told_that_nothing_is_fetched(public, served, tmp_path):
    with pytest.raises(requests.HTTPError) as refused:
        public.remove_background_from_img_url(f"{served.url}/a.png", new_file_name="x")
    assert refused.value.response.json()["errors"][0]["code"] == "invalid_image_url"


def test_public_client_needs_the_key(public, served, tmp_path):
    stranger = public_client.RemoveBg("wrong", str(tmp_path / "errors.log"))
    with pytest.raises(requests.HTTPError) as refused:
        stranger.remove_background_from_base64_img(BASE64, new_file_name="x")
    assert refused.value.response.status_code == 403
    assert refused.value.response.json()["errors"][0]["code"] == "auth_failed"


# By hand.


async def test_three_kinds_of_body_give_the_same(service):
    by_file = await post(service, size="full")
    in_form = await service.client.post(
        PATH, files={"image_file_b64": (None, BASE64), "size": (None, "full")}
    )
    by_json = await service.client.post(PATH, json={"image_file_b64": BASE64, "size": "full"})
    urlencoded = await service.client.post(PATH, data={"image_file_b64": BASE64, "size": "full"})
    assert picture(by_file).shape == (HEIGHT, WIDTH, 4)
    assert by_file.content == in_form.content == by_json.content == urlencoded.content


async def test_the_cutout_is_the_one_of_our_own_route(service):
    ours = await service.segment(PHOTO, "?output=cutout")
    assert (await post(service, size="full")).content == ours.content


async def test_headers(service):
    answer = await post(service, left_half(), size="full")
    headers = answer.headers
    assert (headers["x-width"], headers["x-height"]) == (str(WIDTH), str(HEIGHT))
    assert (headers["x-max-width"], headers["x-max-height"]) == (str(WIDTH), str(HEIGHT))
    assert (headers["x-type"], headers["x-credits-charged"]) == ("person", "0")
    box = [int(headers[f"x-foreground-{side}"]) for side in ("top", "left", "width", "height")]
    assert box == pytest.approx([0, 0, WIDTH // 2, HEIGHT], abs=4)
    assert headers["x-model"] == "connectnet"
    assert headers["x-request-id"]
    stages = [entry.split(";dur=")[0] for entry in headers["server-timing"].split(", ")]
    assert stages == ["decode", "route", "queue", "infer", "post", "encode"]
    silent = await post(service, type_level="none")
    assert "x-type" not in silent.headers


async def test_json_answer(service):
    answer = await service.client.post(
        PATH,
        files={"image_file": left_half()},
        headers={"accept": "application/json"},
    )
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()["data"]
    assert document.keys() == {
        *("result_b64", "foreground_top", "foreground_left"),
        *("foreground_width", "foreground_height"),
    }
    assert document["foreground_height"] == int(answer.headers["x-foreground-height"])
    image = pixels(base64.b64decode(document["result_b64"]))
    assert image.shape == (HEIGHT, WIDTH, 4)


async def test_an_axios_that_accepts_everything_gets_the_picture(service):
    answer = await service.client.post(
        PATH,
        files={"image_file": PHOTO},
        headers={"accept": "application/json, text/plain, */*"},
    )
    picture(answer)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        (None, (500, 500)),
        ("preview", (500, 500)),
        ("regular", (500, 500)),
        ("medium", (900, 900)),
        ("auto", (900, 900)),
        ("full", (900, 900)),
    ],
)
async def test_sizes(service, size, shape):
    answer = await post(service, left_half(900, 900), **({"size": size} if size else {}))
    assert picture(answer).shape == (*shape, 4)
    assert (answer.headers["x-max-height"], answer.headers["x-height"]) == ("900", str(shape[0]))


async def test_a_rotated_photo_is_upright_at_every_size(service):
    photo = make_jpeg(quadrants(800, 1200), orientation=6)
    small, full = await post(service, photo), await post(service, photo, size="full")
    assert picture(full).shape == (1200, 800, 4)
    assert picture(small).shape == (612, 408, 4)
    assert full.headers["x-max-height"] == small.headers["x-max-height"] == "1200"


async def test_crop_with_margins(service):
    tight = picture(await post(service, left_half(), crop="true"))
    roomy = picture(await post(service, left_half(), crop="true", crop_margin="10px"))
    assert tight.shape[:2] == pytest.approx((HEIGHT, WIDTH // 2), abs=4)
    assert roomy.shape[:2] == (tight.shape[0] + 20, tight.shape[1] + 20)
    assert not roomy[:10, :, 3].any()


async def test_scale_and_position(service):
    image = picture(await post(service, left_half(), scale="50%", position="100% 0%"))
    rows, columns = np.nonzero(image[..., 3] > 127)
    assert image.shape == (HEIGHT, WIDTH, 4)
    assert rows.max() == pytest.approx(HEIGHT // 2, abs=3)
    assert columns.max() == WIDTH - 1


async def test_region_of_interest(service):
    image = picture(await post(service, roi="0% 0% 50% 100%"))
    assert image[RED].tolist() == [255, 0, 0, 255]
    assert not image[:, WIDTH // 2 + 2 :, 3].any()


async def test_alpha_alone(service):
    mask = picture(await post(service, channels="alpha"))
    assert mask.shape == (HEIGHT, WIDTH)
    assert (mask[RED], mask[GREEN]) == (255, 0)


async def test_backgrounds(service):
    blue = make_png(np.full((30, 40, 3), (0, 0, 250), np.uint8))
    image = picture(await post(service, bg_image_file=blue, format="png"))
    assert [image[RED].tolist(), image[GREEN].tolist()] == [[255, 0, 0], [0, 0, 250]]
    image = picture(await post(service, bg_color="81d4fa", format="png"))
    assert image[GREEN].tolist() == [0x81, 0xD4, 0xFA]
    image = picture(await post(service, bg_color="#0000ff80"))
    assert image[GREEN].tolist() == [0, 0, 255, 128]
    picture(await post(service, bg_color="fff"), "image/jpeg")


async def test_zip(service):
    answer = await post(service, format="zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        assert pixels(archive.read("alpha.png")).shape == (HEIGHT, WIDTH)


async def test_what_their_clients_send_without_meaning_it_is_taken(service):
    usual = {
        **{"size": "auto", "type": "auto", "type_level": "1", "format": "auto", "roi": ""},
        **{"crop": "false", "crop_margin": "0", "scale": "original", "position": "original"},
        **{"channels": "rgba", "add_shadow": "false", "semitransparency": "true"},
        **{"bg_color": "", "image_url": "", "image_file_b64": "", "bg_image_url": ""},
    }
    assert (await post(service, **usual)).content == (await post(service, size="full")).content
    said = {"image_file_b64": BASE64, "crop": False, "type_level": 1, "bg_color": None}
    by_json = await service.client.post(PATH, json=said)
    assert by_json.content == (await post(service)).content


async def test_sources(service):
    error_of(
        await service.client.post(PATH, files={"size": (None, "auto")}),
        400,
        "missing_source",
    )
    error_of(await service.client.post(PATH, json={}), 400, "missing_source")
    error_of(await post(service, b""), 400, "missing_source")
    error_of(await post(service, image_file_b64=BASE64), 400, "multiple_sources")
    error_of(await post(service, image_url="http://x/y"), 400, "multiple_sources")
    twice = [("image_file", ("a", PHOTO)), ("image_file", ("b", PHOTO))]
    error_of(await service.client.post(PATH, files=twice), 400, "multiple_sources")
    both = await post(service, bg_color="fff", bg_image_file=PHOTO)
    error_of(both, 400, "multiple_bg_sources")
    by_url = await service.client.post(PATH, json={"image_url": "http://127.0.0.1/a.jpg"})
    assert "fetches nothing" in error_of(by_url, 400, "invalid_image_url")["title"]
    error_of(await post(service, bg_image_url="http://x/y"), 400, "invalid_bg_image_url")


async def test_nobody_is_unknown_foreground(service):
    error_of(await post(service, NOBODY), 400, "unknown_foreground")
    error_of(await post(service, type="car"), 400, "unknown_foreground")
    error_of(await post(service, roi="90% 0% 100% 40%"), 400, "unknown_foreground")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"size": "huge"}, "invalid_size"),
        ({"format": "gif"}, "invalid_format"),
        ({"bg_color": "nope"}, "invalid_bg_color"),
        ({"crop_margin": "90%"}, "invalid_crop_margin"),
        ({"roi": "10px 10px 5px 5px"}, "invalid_roi"),
        ({"add_shadow": "true"}, "invalid_add_shadow"),
        ({"nope": "1"}, "unknown_parameter"),
        ({"size": "x" * 5000}, "invalid_size"),
    ],
)
async def test_bad_parameters(service, fields, code):
    error_of(await post(service, **fields), 400, code)


CODES = {
    "unsupported_image_type": "invalid_file_type",
    "too_many_frames": "invalid_file_type",
    "undecodable_image": "failed_to_read_image",
    "side_too_long": "resolution_too_high",
    "too_many_pixels": "resolution_too_high",
    "aspect_too_extreme": "invalid_dimensions",
}


@pytest.mark.parametrize(("body", "status", "code"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
async def test_bad_images(service, body, status, code):
    error_of(await post(service, body), 400, CODES[code])
    error_of(await post(service, bg_image_file=body), 400, CODES[code])
    encoded = base64.b64encode(body).decode()
    error_of(await service.client.post(PATH, json={"image_file_b64": encoded}), 400, CODES[code])


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("application/json", b"{", 400, "malformed_body"),
        ("application/json", b"[1]", 400, "malformed_body"),
        ("application/json", b'{"size": ["a"]}', 400, "invalid_size"),
        ("application/json", b"[" * 50_000, 400, "malformed_body"),
        ("application/json", b'{"image_file_b64": "%%%"}', 400, "failed_to_read_image"),
        ("application/json", b'{"image_file_b64": "\\u00e9"}', 400, "failed_to_read_image"),
        ("application/x-www-form-urlencoded", b"size=a&size=b", 400, "invalid_size"),
        ("application/x-www-form-urlencoded", b"\xff=1", 400, "malformed_body"),
        ("application/x-www-form-urlencoded", b"a=%ff", 400, "malformed_body"),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 99), 400, "malformed_body"),
        ("application/json", b'{"size": "%s"}' % (b"a" * 5000), 400, "invalid_size"),
        ("application/json", b'{"a": [%s]}' % b",".join([b"{}"] * 30_000), 400, "file_too_large"),
        ("application/x-www-form-urlencoded", b"x=" + b"%41" * 30_000, 400, "file_too_large"),
        ("multipart/form-data", PHOTO, 400, "malformed_body"),
        ("multipart/form-data; boundary=b", PHOTO, 400, "malformed_body"),
        ("image/png", PHOTO, 415, "unsupported_media_type"),
        ("", PHOTO, 415, "unsupported_media_type"),
    ],
)
async def test_bad_bodies(service, content_type, body, status, code):
    answer = await service.client.post(PATH, content=body, headers={"content-type": content_type})
    error_of(answer, status, code)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=b", "application/json", "application/x-www-form-urlencoded"],
)
async def test_a_compressed_body_is_not_read(service, content_type):
    headers = {"content-type": content_type, "content-encoding": "gzip"}
    answer = await service.client.post(PATH, content=gzip.compress(b"{}"), headers=headers)
    said = error_of(answer, 415, "unsupported_media_type")
    assert "Content-Encoding" in said["detail"]


async def test_a_name_that_is_no_parameter_is_no_code(service):
    name = "n" * 200
    twice = await service.client.post(
        PATH, content=f'{{"{name}": 1, "{name}": 1}}', headers=AS_JSON
    )
    assert len(error_of(twice, 400, "invalid_parameter")["detail"]) < 120
    listed = await service.client.post(PATH, json={name: []})
    assert len(error_of(listed, 400, "invalid_parameter")["detail"]) < 140


async def test_margins_make_no_picture_larger_than_a_photo_may_be(settings_with):
    async with in_process(settings_with(max_pixels=HEIGHT * WIDTH)) as service:
        tight = picture(await post(service, left_half(), crop="true", size="full"))
        refused = await post(
            service, left_half(), crop="true", size="full", crop_margin="50%", format="jpg"
        )
        said = error_of(refused, 400, "resolution_too_high")
        assert f"limit {HEIGHT * WIDTH}, got {4 * tight[..., 0].size}" in said["detail"]


async def test_other_refusals_have_the_same_shape(service):
    error_of(await service.client.get(PATH), 405, "method_not_allowed")
    error_of(await service.client.post("/v1.0/nope"), 404, "not_found")
    by_query = await service.client.post(f"{PATH}?size=full", files={"image_file": PHOTO})
    error_of(by_query, 400, "unknown_parameter")


async def test_too_large_as_file_and_as_base64(settings_with):
    async with in_process(settings_with(max_body_bytes=len(PHOTO))) as service:
        picture(await post(service))
        picture(await service.client.post(PATH, json={"image_file_b64": BASE64}))
        large = PHOTO + bytes(1)
        said = error_of(await post(service, large), 400, "file_too_large")
        assert f"limit {len(PHOTO)}, got {len(PHOTO) + 1}" in said["detail"]
        encoded = base64.b64encode(large).decode()
        by_json = await service.client.post(PATH, json={"image_file_b64": encoded})
        error_of(by_json, 400, "file_too_large")
        huge = {"image_file_b64": "A" * 2_000_000}
        error_of(await service.client.post(PATH, json=huge), 400, "file_too_large")


async def test_a_full_service_is_a_rate_limit(settings_with, gated):
    settings = settings_with(engine="gated", photos_at_once=1, queue_size=1)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        both = [asyncio.create_task(post(service)) for _ in range(2)]
        await until(lambda: service.gateway.photo_queue.queued == 1)
        refused = await post(service)
        error_of(refused, 429, "rate_limit_exceeded")
        assert refused.headers["retry-after"] == "1"
        gated[0].gate.set()
        for done in await asyncio.gather(*both):
            picture(done)


async def test_failures(settings_with, gated):
    async with in_process(settings_with(engine="gated")) as service:
        gated[0].fail_next(EngineFailed("The engine failed."))
        error_of(await post(service), 503, "engine_failed")
        gated[0].fail_next(ZeroDivisionError("secret /path"))
        failed = await post(service)
        error_of(failed, 500, "internal")
        assert "secret" not in failed.text
        await drain(service.gateway, 1)
        error_of(await post(service), 503, "draining")


async def test_deadline_cancels_the_work(settings_with, gated):
    async with in_process(settings_with(engine="gated", request_timeout_s=0.2)) as service:
        gated[0].gate.clear()
        error_of(await post(service), 504, "deadline_exceeded")
        await until(lambda: gated[0].running == 0)
        gated[0].gate.set()
        picture(await post(service))


async def test_a_page_of_another_origin_may_read_the_headers(settings_with):
    async with in_process(settings_with(cors_origins="https://shop.example")) as service:
        answer = await service.client.post(
            PATH, files={"image_file": PHOTO}, headers={"origin": "https://shop.example"}
        )
        exposed = answer.headers["access-control-expose-headers"]
        for name in ("X-Type", "X-Width", "X-Credits-Charged", "X-Foreground-Top"):
            assert name in exposed


async def test_it_is_described(service):
    document = (await service.client.get("/openapi.json")).json()
    operation = document["paths"][PATH]["post"]
    bodies = operation["requestBody"]["content"]
    assert bodies.keys() == {
        *("multipart/form-data", "application/json", "application/x-www-form-urlencoded"),
    }
    assert "image_file" in bodies["multipart/form-data"]["schema"]["properties"]
    assert "image_file" not in bodies["application/json"]["schema"]["properties"]
    assert {"400", "403", "429", "503"} <= operation["responses"].keys()


async def test_damaged_bodies_are_answered_as_they_should_be(service, mutations):
    image = make_png(quadrants(8, 12))
    form = (
        b'--b\r\nContent-Disposition: form-data; name="image_file"; filename="a.png"\r\n\r\n'
        + image
        + b'\r\n--b\r\nContent-Disposition: form-data; name="crop"\r\n\r\ntrue\r\n--b--\r\n'
    )
    document = json.dumps({"image_file_b64": base64.b64encode(image).decode(), "crop": "true"})
    kinds = (("multipart/form-data; boundary=b", form), ("application/json", document.encode()))
    outcomes = {200: 0, 400: 0}
    for number in range(mutations // 8):
        for content_type, body in kinds:
            answer = await service.client.post(
                PATH, content=mutated(body, number), headers={"content-type": content_type}
            )
            outcomes[answer.status_code] += 1
            if answer.status_code == 400:
                assert answer.json()["errors"][0]["code"], number
    assert all(outcomes.values()), outcomes
