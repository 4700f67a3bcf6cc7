"""`/api/remove`, with the parameters of rembg's HTTP server."""

import shutil
import subprocess

import numpy as np
import pytest

from silhouette_seg.api.rembg import PARAMETERS
from tests.integration.conftest import in_process
from tests.integration.inference import check_idle
from tests.integration.pictures import picture, refusal
from tests.support.images import make_jpeg, make_png, person, quadrants
from tests.support.openapi import resolved

PATH = "/api/remove"
PHOTO = make_png(quadrants(96, 128))
IGNORED = "x-ignored-parameters"


async def remove(service, photo=PHOTO, query="", **fields):
    files = {"file": ("photo.png", photo)} | {name: (None, value) for name, value in fields.items()}
    return await service.client.post(PATH + query, files=files)


@pytest.mark.parametrize(
    ("fields", "segment"),
    [
        ({}, "?output=cutout&decontaminate=false"),
        ({"om": "true"}, "?output=mask"),
        ({"dc": "True"}, "?output=cutout"),
        ({"a": "1"}, "?output=cutout"),
        ({"bgc": "255,0,127,255"}, "?output=composite&background=%23ff007f&decontaminate=false"),
        ({"bgc": "1,2,3", "dc": "true"}, "?output=composite&background=%23010203"),
        ({"bgc": "9,9,9,0"}, "?output=cutout&decontaminate=false"),
        ({"model": "connectnet", "om": "true", "a": ""}, "?output=mask"),
    ],
)
async def test_rembg_parameters_equal_those_of_segment(service, fields, segment):
    photo = make_jpeg(person(96, 128))
    answers = [
        await remove(service, photo, **fields),
        await service.client.post(PATH, params=fields, files={"file": photo}),
    ]
    expected = await service.segment(photo, segment)
    for answer in answers:
        assert (picture(answer) == picture(expected)).all()
        assert answer.headers["x-model"] == "connectnet"
        assert IGNORED not in answer.headers
    check_idle(service)


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"af": "240", "ab": "10", "ae": "10"}, "af, ab, ae"),
        ({"model": "u2net"}, "model"),
        ({"ppm": "true", "vm": "false"}, "ppm, vm"),
        ({"extras": '{"url": "http://127.0.0.1:1/x"}'}, "extras"),
        ({"om": "true", "bgc": "1,2,3", "dc": "true", "a": "false"}, "dc, bgc"),
    ],
)
async def test_parameter_without_meaning_is_listed(service, fields, ignored):
    answer = await remove(service, **fields)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers[IGNORED] == ignored


@pytest.mark.parametrize(
    ("fields", "code", "detail"),
    [
        ({"af": "256"}, "bad_parameter", "af: must be a whole number from 0 to 255"),
        ({"om": "maybe"}, "bad_parameter", "om: must be true or false"),
        ({"bgc": "red"}, "bad_parameter", "bgc: must be three or four numbers"),
        ({"bgc": "1,2,256"}, "bad_parameter", "bgc: must be three or four numbers"),
        ({"bgc": "1,2,3,128"}, "bad_parameter", "not translucent"),
        ({"output": "mask"}, "unknown_parameter", "'output' is not a parameter of rembg"),
        ({"url": "http://127.0.0.1:1/x"}, "unknown_parameter", "nothing from the network"),
    ],
)
async def test_invalid_rembg_parameter_is_refused(service, fields, code, detail):
    assert detail in refusal(await remove(service, **fields), 400, code)["detail"]
    answer = await service.client.post(PATH, params=fields, files={"file": PHOTO})
    assert detail in refusal(answer, 400, code)["detail"]
    check_idle(service)


async def test_background_file_is_refused(service):
    files = {"file": PHOTO, "background_image": PHOTO}
    refusal(await service.client.post(PATH, files=files), 400, "unknown_parameter")


async def test_remove_without_file_names_the_problem(service):
    answer = await service.client.post(PATH, files={"om": (None, "true")})
    refusal(answer, 400, "missing_image")


async def test_url_is_never_fetched(service):
    answer = await service.client.get(PATH, params={"url": "http://127.0.0.1:1/a.png"})
    document = refusal(answer, 400, "bad_parameter")
    assert "fetches nothing from the network" in document["detail"]
    assert "`file`" in document["detail"]


async def test_photo_without_person_is_a_clear_cutout(service):
    black = make_png(np.zeros((40, 60, 3), np.uint8))
    answer = await remove(service, black)
    assert not picture(answer)[..., 3].any()
    assert answer.headers["x-foreground"] == "none"


async def test_remove_requires_the_key_and_exposes_its_header(settings_with):
    origin = "https://shop.example"
    async with in_process(settings_with(api_keys="sesame", cors_origins=(origin,))) as service:
        refusal(await remove(service), 401, "unauthorized")
        refusal(await service.client.get(PATH), 401, "unauthorized")
        headers = {"x-api-key": "sesame", "origin": origin}
        answer = await service.client.post(PATH, files={"file": PHOTO}, headers=headers)
        picture(answer)
        assert "X-Ignored-Parameters" in answer.headers["access-control-expose-headers"]


async def test_openapi_describes_the_parameters_of_rembg(service):
    document = (await service.client.get("/openapi.json")).json()
    operation = document["paths"][PATH]["post"]
    form = resolved(document, operation["requestBody"]["content"]["multipart/form-data"]["schema"])
    assert form["properties"].keys() == PARAMETERS.keys() | {"file"}
    assert "parameters" not in operation


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on PATH")
def test_documented_curl_call_of_rembg_works(socket_service, tmp_path):
    (tmp_path / "input.png").write_bytes(PHOTO)
    url = f"{socket_service.url}{PATH}"
    command = ["curl", "-s", "-F", f"file=@{tmp_path}/input.png", url, "-o", "output.png"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "output.png").read_bytes().startswith(b"\x89PNG")
