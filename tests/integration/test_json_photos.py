"""Photos in base64 as members of a JSON object, at `POST /v1/segment`."""

import base64
import json
import tracemalloc

import pytest

from silhouette_seg.api.request.base64_bodies import MAX_BYTES_WITHOUT_PHOTO
from silhouette_seg.api.request.uploads import PhotoUpload, parse_json_upload
from silhouette_seg.errors import BodyTooLarge, ServiceError
from tests.integration.conftest import in_process
from tests.integration.inference import check_idle
from tests.integration.pictures import picture, refusal
from tests.support.images import make_jpeg, make_png, quadrants

PHOTO = make_jpeg(quadrants(96, 128))
BACKGROUND = make_png(quadrants(24, 32))
PATH = "/v1/segment"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


IMAGE = {"image": encoded(PHOTO)}


@pytest.mark.parametrize("name", ["image", "image_file", "file"])
@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
async def test_json_photo_is_answered_like_a_form(service, name, prefix):
    answer = await service.client.post(PATH, json={name: prefix + encoded(PHOTO)})
    same = await service.form(("image", PHOTO))
    assert (picture(answer) == picture(same)).all()
    assert answer.headers["etag"] == same.headers["etag"]
    check_idle(service)


async def test_json_members_are_parameters(service):
    members = {"output": "composite", "background_image": encoded(BACKGROUND), "grow": 2}
    members |= {"decontaminate": False, "feather": 0.5, "model": None, "threshold": ""}
    answer = await service.client.post(PATH, json=IMAGE | members)
    same = await service.form(
        ("image", PHOTO),
        ("background_image", BACKGROUND),
        *[("output", "composite"), ("grow", "2"), ("decontaminate", "false"), ("feather", "0.5")],
    )
    assert (picture(answer) == picture(same)).all()
    assert answer.headers["etag"] == same.headers["etag"]


async def test_json_and_query_parameters_are_merged(service):
    answer = await service.client.post(f"{PATH}?output=cutout", json=IMAGE | {"format": "webp"})
    assert answer.headers["content-type"] == "image/webp"
    conflict = await service.client.post(f"{PATH}?output=cutout", json=IMAGE | {"output": "mask"})
    refusal(conflict, 400, "bad_parameter")


@pytest.mark.parametrize(
    ("body", "status", "code", "detail"),
    [
        ({}, 400, "missing_image", "`image` of application/json"),
        ({"image": None}, 400, "missing_image", "no image"),
        ({"image": ""}, 400, "missing_image", "no image"),
        (
            {"image_url": "https://x.example/a.jpg"},
            400,
            "missing_image",
            "nothing from the network",
        ),
        ({"image": "https://x.example/a.jpg"}, 400, "bad_parameter", "nothing from the network"),
        (IMAGE | {"file": encoded(PHOTO)}, 400, "ambiguous_source", "image, file"),
        ({"image": "%%%"}, 400, "bad_parameter", "image: is not base64"),
        ({"image": [1, 2]}, 400, "bad_parameter", "image: must be a string"),
        ({"image": encoded(b"text")}, 415, "unsupported_image_type", ""),
        (IMAGE | {"background_image": "%"}, 400, "bad_parameter", "background_image: is not"),
        (IMAGE | {"grow": [2]}, 400, "bad_parameter", "grow: must be"),
        (IMAGE | {"colour": "red"}, 400, "unknown_parameter", "colour"),
        (IMAGE | {"output": "x" * 5000}, 400, "bad_parameter", "output: has too many bytes"),
        ([encoded(PHOTO)], 400, "malformed_body", "JSON object"),
    ],
)
async def test_invalid_json_body_is_refused_with_reason(service, body, status, code, detail):
    document = refusal(await service.client.post(PATH, json=body), status, code)
    assert detail in document["detail"]
    check_idle(service)


async def test_json_batch_is_refused_with_the_media_type(service):
    document = refusal(
        await service.client.post(f"{PATH}/batch", json=IMAGE), 415, "unsupported_media_type"
    )
    assert "multipart/form-data" in document["detail"]


async def test_json_photo_above_the_limit_is_413(settings_with):
    async with in_process(settings_with(max_body_bytes=len(PHOTO))) as service:
        picture(await service.client.post(PATH, json=IMAGE))
        large = {"image": encoded(PHOTO + b"\0")}
        document = refusal(await service.client.post(PATH, json=large), 413, "body_too_large")
        assert (document["limit"], document["actual"]) == (len(PHOTO), len(PHOTO) + 1)
        check_idle(service)


def filled(start: bytes, item: bytes, end: bytes) -> bytes:
    """Returns a body of 8 MiB that repeats `item`."""
    return start + item * (((8 << 20) - len(start) - len(end)) // len(item)) + end


def measured(body: bytes) -> tuple[PhotoUpload | ServiceError, int]:
    """Parses a body; returns the upload or its error, and the bytes of memory that it took."""
    tracemalloc.start()
    try:
        return parse_json_upload(body, 8 << 20), tracemalloc.get_traced_memory()[1]
    except ServiceError as error:
        return error, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("start", "item", "end"),
    [
        (b'{"image":"', b"QUJD", b'"}'),
        (b'{"image":"QUJD","background_image":"', b"QUJD", b'"}'),
        (b'{"image":"', rb"\/" * 4, b'"}'),
        (b'{"background_image":"QUJD","image":"', rb"\u002b" * 4, b'"}'),
    ],
)
def test_large_json_photo_takes_little_more_memory_than_itself(start, item, end):
    body = filled(start, item, end)
    upload, memory = measured(body)
    assert isinstance(upload, PhotoUpload)
    assert memory < 4 * len(body)


@pytest.mark.parametrize(
    ("start", "item", "end"),
    [
        (b'{"a":[', b"{},", b"{}]}"),
        (b'{"image":"QUJD","a":[', b"{},", b"{}]}"),
        (b'{"image":"QUJD"', b',"image":"QUJD"', b"}"),
        (b'{"x":"', rb"\n", b'"}'),
    ],
)
def test_large_json_without_large_photo_is_rejected_unparsed(start, item, end):
    body = filled(start, item, end)
    error, memory = measured(body)
    assert isinstance(error, BodyTooLarge)
    assert error.limit == MAX_BYTES_WITHOUT_PHOTO
    assert memory < 4 * len(body)


def test_photo_with_escaped_name_is_found():
    body = json.dumps(IMAGE | {"output": "cutout"}).replace('"image"', r'"im\u0061ge"')
    upload = parse_json_upload(body.encode(), len(PHOTO))
    assert (upload.image.data, upload.fields) == (PHOTO, (("output", "cutout"),))
