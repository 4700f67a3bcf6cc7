"""`POST /v1.0/removebg`, called by a public client of remove.bg and by plain requests.

The model's alpha is the red channel, so red and white parts of a photo are the person.
"""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import removebg.removebg as public_client
import requests

from silhouette_seg.api.media_types import FORM_DATA, JSON
from silhouette_seg.errors import EngineFailed
from silhouette_seg.lifecycle import drain
from tests.integration.conftest import InProcess, OnSocket, in_process, on_socket, until
from tests.integration.pictures import picture, pixels
from tests.support.bad_images import BAD_IMAGES
from tests.support.damage import mutated
from tests.support.images import make_jpeg, make_png, quadrants
from tests.support.openapi import resolved

PATH = "/v1.0/removebg"
HEIGHT, WIDTH = 64, 96
PHOTO = make_png(quadrants(HEIGHT, WIDTH))
BASE64 = base64.b64encode(PHOTO).decode()
BLACK = make_png(np.zeros((40, 60, 3), np.uint8))
"""Photo without a person."""
RED, GREEN = (16, 24), (16, 72)


def left_half(height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """Returns a photo with a person on its left half."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 255
    return make_png(image)


def error_of(answer: httpx.Response, status: int, code: str) -> dict[str, str]:
    """Returns the error of an answer, which must have that status and code."""
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
    """Posts a form; values that are bytes are files."""
    files = {"image_file": ("photo.png", photo)} | {
        name: (name, value) if isinstance(value, bytes) else (None, value)
        for name, value in fields.items()
    }
    return await service.client.post(PATH, files=files)


@pytest.fixture(autouse=True)
async def resources_are_released(service) -> AsyncIterator[None]:
    yield
    await until(lambda: service.gateway.requests.count == 0)
    assert service.gateway.photo_queue.running == 0
    assert service.gateway.body_memory.reserved == 0


@pytest.fixture(scope="module")
def served(settings_with) -> Iterator[OnSocket]:
    with on_socket(settings_with(api_keys="sesame")) as running:
        yield running


@pytest.fixture
def public(served, monkeypatch, tmp_path) -> public_client.RemoveBg:
    """Returns a client that logs to a file of the test, and does not configure logging globally."""
    monkeypatch.setattr(public_client, "API_ENDPOINT", served.url + PATH)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    return public_client.RemoveBg("sesame", str(tmp_path / "errors.log"))


def test_public_client_gets_cutout_of_a_file(public, tmp_path):
    (tmp_path / "photo.png").write_bytes(PHOTO)
    public.remove_background_from_img_file(str(tmp_path / "photo.png"), size="full")
    image = pixels((tmp_path / "photo.png_no_bg.png").read_bytes())
    assert image.shape == (HEIGHT, WIDTH, 4)
    assert [image[RED].tolist(), image[GREEN].tolist()] == [[255, 0, 0, 255], [0, 0, 0, 0]]


def test_public_client_gets_base64_photo_on_a_colour(public, tmp_path):
    result = tmp_path / "blue.png"
    public.remove_background_from_base64_img(BASE64, new_file_name=str(result), bg_color="blue")
    image = pixels(result.read_bytes())
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image[GREEN].tolist() == pytest.approx([0, 0, 255], abs=12)  # a JPEG


def test_public_client_with_url_gets_an_error(public, served, tmp_path):
    with pytest.raises(requests.HTTPError) as rejected:
        public.remove_background_from_img_url(f"{served.url}/a.png", new_file_name="x")
    assert rejected.value.response.json()["errors"][0]["code"] == "invalid_image_url"


def test_public_client_with_wrong_key_gets_403(public, served, tmp_path):
    intruder = public_client.RemoveBg("wrong", str(tmp_path / "errors.log"))
    with pytest.raises(requests.HTTPError) as rejected:
        intruder.remove_background_from_base64_img(BASE64, new_file_name="x")
    assert rejected.value.response.status_code == 403
    assert rejected.value.response.json()["errors"][0]["code"] == "auth_failed"


async def test_body_types_give_the_same_picture(service):
    file = await post(service, size="full")
    form_base64 = await service.client.post(
        PATH, files={"image_file_b64": (None, BASE64), "size": (None, "full")}
    )
    fields = {"image_file_b64": BASE64, "size": "full"}
    document = await service.client.post(PATH, json=fields)
    urlencoded = await service.client.post(PATH, data=fields)
    assert picture(file).shape == (HEIGHT, WIDTH, 4)
    assert file.content == form_base64.content == document.content == urlencoded.content


async def test_cutout_equals_that_of_the_segment_route(service):
    segmented = await service.segment(PHOTO, "?output=cutout")
    assert (await post(service, size="full")).content == segmented.content


async def test_answer_headers_describe_the_result(service):
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


async def test_type_header_is_omitted_on_request(service):
    assert "x-type" not in (await post(service, type_level="none")).headers


async def test_json_answer_holds_picture_and_box(service):
    headers = {"accept": "application/json"}
    answer = await service.client.post(PATH, files={"image_file": left_half()}, headers=headers)
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()["data"]
    sides = {f"foreground_{side}" for side in ("top", "left", "width", "height")}
    assert document.keys() == {"result_b64"} | sides
    assert document["foreground_height"] == int(answer.headers["x-foreground-height"])
    assert pixels(base64.b64decode(document["result_b64"])).shape == (HEIGHT, WIDTH, 4)


@pytest.mark.parametrize(
    ("size", "shape"), [(None, (500, 500)), ("medium", (900, 900)), ("full", (900, 900))]
)
async def test_size_limits_pixels_of_the_result(service, size, shape):
    answer = await post(service, left_half(900, 900), **({"size": size} if size else {}))
    assert picture(answer).shape == (*shape, 4)
    assert (answer.headers["x-max-height"], answer.headers["x-height"]) == ("900", str(shape[0]))


async def test_rotated_photo_is_upright_at_every_size(service):
    photo = make_jpeg(quadrants(800, 1200), orientation=6)
    small, full = await post(service, photo), await post(service, photo, size="full")
    assert picture(full).shape == (1200, 800, 4)
    assert picture(small).shape == (612, 408, 4)
    assert full.headers["x-max-height"] == small.headers["x-max-height"] == "1200"


async def test_background_file_is_behind_the_person(service):
    blue = make_png(np.full((30, 40, 3), (0, 0, 250), np.uint8))
    image = picture(await post(service, bg_image_file=blue, format="png"))
    assert [image[RED].tolist(), image[GREEN].tolist()] == [[255, 0, 0], [0, 0, 250]]


@pytest.mark.parametrize(
    ("fields", "media_type"),
    [
        ({"scale": "50%", "position": "100% 0%"}, "image/png"),
        ({"channels": "alpha"}, "image/png"),
        ({"bg_color": "fff"}, "image/jpeg"),
        ({"bg_color": "#0000ff80"}, "image/png"),
        ({"format": "webp"}, "image/webp"),
        ({"format": "zip"}, "application/zip"),
    ],
)
async def test_answer_has_the_media_type_of_its_parameters(service, fields, media_type):
    answer = await post(service, **fields)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)


async def test_defaults_that_clients_send_change_nothing(service):
    defaults = {
        **{"size": "auto", "type": "auto", "type_level": "1", "format": "auto", "roi": ""},
        **{"crop": "false", "crop_margin": "0", "scale": "original", "position": "original"},
        **{"channels": "rgba", "add_shadow": "false", "semitransparency": "true"},
        **{"bg_color": "", "image_url": "", "image_file_b64": "", "bg_image_url": ""},
    }
    assert (await post(service, **defaults)).content == (await post(service, size="full")).content
    document = {"image_file_b64": BASE64, "crop": False, "type_level": 1, "bg_color": None}
    by_json = await service.client.post(PATH, json=document)
    assert by_json.content == (await post(service)).content


async def test_photo_and_background_must_be_sent_once(service):
    without = await service.client.post(PATH, files={"size": (None, "auto")})
    error_of(without, 400, "missing_source")
    error_of(await service.client.post(PATH, json={}), 400, "missing_source")
    error_of(await post(service, b""), 400, "missing_source")
    error_of(await post(service, image_file_b64=BASE64), 400, "multiple_sources")
    error_of(await post(service, image_url="http://x/y"), 400, "multiple_sources")
    twice = [("image_file", ("a", PHOTO)), ("image_file", ("b", PHOTO))]
    error_of(await service.client.post(PATH, files=twice), 400, "multiple_sources")
    two_backgrounds = await post(service, bg_color="fff", bg_image_file=PHOTO)
    error_of(two_backgrounds, 400, "multiple_bg_sources")


async def test_photo_without_person_is_unknown_foreground(service):
    error_of(await post(service, BLACK), 400, "unknown_foreground")
    error_of(await post(service, type="car"), 400, "unknown_foreground")
    error_of(await post(service, roi="90% 0% 100% 40%"), 400, "unknown_foreground")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"size": "huge"}, "invalid_size"),
        ({"nope": "1"}, "unknown_parameter"),
        ({"size": "x" * 5000}, "invalid_size"),
    ],
)
async def test_invalid_parameter_has_its_error_code(service, fields, code):
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
async def test_bad_image_is_rejected_in_every_field(service, body, status, code):
    error_of(await post(service, body), 400, CODES[code])
    error_of(await post(service, bg_image_file=body), 400, CODES[code])
    encoded = base64.b64encode(body).decode()
    error_of(await service.client.post(PATH, json={"image_file_b64": encoded}), 400, CODES[code])


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("application/json", b"{", 400, "malformed_body"),
        ("application/json", b'{"image_file_b64": "%%%"}', 400, "failed_to_read_image"),
        ("application/json", b'{"a": [%s]}' % b",".join([b"{}"] * 30_000), 400, "file_too_large"),
        ("application/x-www-form-urlencoded", b"a=%ff", 400, "malformed_body"),
        ("multipart/form-data", PHOTO, 400, "malformed_body"),
        ("multipart/form-data; boundary=b", PHOTO, 400, "malformed_body"),
        ("image/png", PHOTO, 415, "unsupported_media_type"),
        ("", PHOTO, 415, "unsupported_media_type"),
    ],
)
async def test_invalid_body_is_rejected_with_its_code(service, content_type, body, status, code):
    answer = await service.client.post(PATH, content=body, headers={"content-type": content_type})
    error_of(answer, status, code)


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "application/json"])
async def test_body_of_unknown_encoding_is_rejected_as_415(service, content_type):
    headers = {"content-type": content_type, "content-encoding": "br"}
    answer = await service.client.post(PATH, content=b"{}", headers=headers)
    error = error_of(answer, 415, "unsupported_media_type")
    assert "Content-Encoding" in error["detail"]


async def test_margins_beyond_the_pixel_limit_are_rejected(settings_with):
    async with in_process(settings_with(max_pixels=HEIGHT * WIDTH)) as service:
        tight = picture(await post(service, left_half(), crop="true", size="full"))
        rejected = await post(service, left_half(), crop="true", size="full", crop_margin="50%")
        error = error_of(rejected, 400, "resolution_too_high")
        assert f"limit {HEIGHT * WIDTH}, got {4 * tight[..., 0].size}" in error["detail"]


async def test_errors_below_the_prefix_have_the_same_shape(service):
    error_of(await service.client.get(PATH), 405, "method_not_allowed")
    error_of(await service.client.post("/v1.0/nope"), 404, "not_found")
    with_query = await service.client.post(f"{PATH}?size=full", files={"image_file": PHOTO})
    error_of(with_query, 400, "unknown_parameter")


async def test_photo_beyond_byte_limit_is_rejected_in_every_field(settings_with):
    async with in_process(settings_with(max_body_bytes=len(PHOTO))) as service:
        picture(await post(service))
        picture(await service.client.post(PATH, json={"image_file_b64": BASE64}))
        large = PHOTO + bytes(1)
        error = error_of(await post(service, large), 400, "file_too_large")
        assert f"limit {len(PHOTO)}, got {len(PHOTO) + 1}" in error["detail"]
        encoded = base64.b64encode(large).decode()
        by_json = await service.client.post(PATH, json={"image_file_b64": encoded})
        error_of(by_json, 400, "file_too_large")
        huge = {"image_file_b64": "A" * 2_000_000}
        error_of(await service.client.post(PATH, json=huge), 400, "file_too_large")


async def test_full_service_answers_with_rate_limit(settings_with, gated):
    settings = settings_with(engine="gated", photos_at_once=1, queue_size=1)
    async with in_process(settings) as service:
        gated[0].gate.clear()
        both = [asyncio.create_task(post(service)) for _ in range(2)]
        await until(lambda: service.gateway.photo_queue.queued == 1)
        rejected = await post(service)
        error_of(rejected, 429, "rate_limit_exceeded")
        assert rejected.headers["retry-after"] == "1"
        gated[0].gate.set()
        for answer in await asyncio.gather(*both):
            picture(answer)


async def test_engine_errors_are_answered_without_details(settings_with, gated):
    async with in_process(settings_with(engine="gated")) as service:
        gated[0].fail_next(EngineFailed("The engine failed."))
        error_of(await post(service), 503, "engine_failed")
        gated[0].fail_next(ZeroDivisionError("secret /path"))
        failed = await post(service)
        error_of(failed, 500, "internal")
        assert "secret" not in failed.text


async def test_draining_service_answers_503(settings_with):
    async with in_process(settings_with()) as service:
        await drain(service.gateway, 1)
        error_of(await post(service), 503, "draining")


async def test_deadline_cancels_the_inference(settings_with, gated):
    async with in_process(settings_with(engine="gated", request_timeout_s=0.2)) as service:
        gated[0].gate.clear()
        error_of(await post(service), 504, "deadline_exceeded")
        await until(lambda: gated[0].running == 0)
        gated[0].gate.set()
        picture(await post(service))


async def test_cors_exposes_the_headers_of_removebg(settings_with):
    async with in_process(settings_with(cors_origins="https://shop.example")) as service:
        answer = await service.client.post(
            PATH, files={"image_file": PHOTO}, headers={"origin": "https://shop.example"}
        )
        exposed = answer.headers["access-control-expose-headers"]
        for name in ("X-Type", "X-Width", "X-Credits-Charged", "X-Foreground-Top"):
            assert name in exposed


async def test_openapi_describes_bodies_and_errors(service):
    document = (await service.client.get("/openapi.json")).json()
    operation = document["paths"][PATH]["post"]
    bodies = operation["requestBody"]["content"]
    assert bodies.keys() == {FORM_DATA}
    assert "image_file" in resolved(document, bodies[FORM_DATA]["schema"])["properties"]
    assert operation["responses"]["200"]["content"].keys() >= {"image/png", JSON}
    assert {"400", "403", "429", "503"} <= operation["responses"].keys()


async def test_damaged_body_is_answered_or_rejected(service, mutations):
    image = make_png(quadrants(8, 12))
    form = (
        b'--b\r\nContent-Disposition: form-data; name="image_file"; filename="a.png"\r\n\r\n'
        + image
        + b'\r\n--b\r\nContent-Disposition: form-data; name="crop"\r\n\r\ntrue\r\n--b--\r\n'
    )
    document = json.dumps({"image_file_b64": base64.b64encode(image).decode(), "crop": "true"})
    bodies = (("multipart/form-data; boundary=b", form), ("application/json", document.encode()))
    outcomes = {200: 0, 400: 0}
    for number in range(mutations // 8):
        for content_type, body in bodies:
            answer = await service.client.post(
                PATH, content=mutated(body, number), headers={"content-type": content_type}
            )
            outcomes[answer.status_code] += 1
            if answer.status_code == 400:
                assert answer.json()["errors"][0]["code"], number
    assert all(outcomes.values()), outcomes
