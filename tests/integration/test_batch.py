"""`POST /v1/segment/batch`: each part equals the response to its photo alone, in order.

The model's alpha is the red channel, so red and white regions of a photo are "person".
"""

import json
from collections.abc import AsyncIterator

import numpy as np
import pytest

from silhouette_seg.api.middleware.security_headers import SECURITY_HEADERS
from tests.integration.batch_client import (
    JPEG,
    PATH,
    assert_released,
    image_part,
    parts_of,
    problem_of,
    send,
    send_chunks,
)
from tests.integration.conftest import in_process
from tests.integration.pictures import pixels, refusal
from tests.support.bad_images import BAD_IMAGES
from tests.support.images import TEXT, make_jpeg, make_png, make_webp, quadrants
from tests.support.openapi import resolved

SINGLE_ONLY = {"etag", "vary", "content-length", "server-timing", "x-request-id"}
"""Headers of a single response that a part lacks, or has with another value."""
HTTP_ONLY = {name.lower() for name in SECURITY_HEADERS}
"""Headers that the middleware adds to whole responses."""
PART_ONLY = {"x-index", "x-status", "content-disposition"}
"""Headers of a part that a single response lacks."""


@pytest.fixture(autouse=True)
async def resources_are_released(service) -> AsyncIterator[None]:
    yield
    await assert_released(service)


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    """Photos of different sizes and formats, so that a mix-up is visible."""
    makers = (make_jpeg, make_png, make_webp)
    return [makers[n % 3](quadrants(40 + 2 * n, 60 + 2 * n)) for n in range(7)]


QUERIES = (
    "",
    "?output=cutout&format=webp",
    "?output=composite&background=%2320639b&format=jpeg",
    "?output=cutout&format=avif",
    "?output=cutout&crop=true&crop_margin=5&threshold=0.5",
)


@pytest.mark.parametrize("query", QUERIES)
async def test_batch_part_equals_the_single_response(service, photos, query):
    parts = parts_of(await send(service, *photos, query=query))

    assert [part.status for part in parts] == [200] * len(photos)
    for photo, part in zip(photos, parts, strict=True):
        alone = await service.segment(photo, query)
        assert part.body == alone.content
        headers = dict(alone.headers)
        assert part.headers.keys() - PART_ONLY - SINGLE_ONLY == (
            headers.keys() - SINGLE_ONLY - HTTP_ONLY
        )
        for name in part.headers.keys() - PART_ONLY - SINGLE_ONLY:
            assert part.headers[name] == headers[name], name
        stages = [entry.partition(";")[0] for entry in part.headers["server-timing"].split(", ")]
        assert stages == ["decode", "route", "queue", "infer", "post", "encode"]


async def test_batch_parts_are_reports_with_accept_json(service, photos):
    answer = await send(service, *photos[:3], accept="multipart/mixed, application/json")
    for photo, part in zip(photos, parts_of(answer), strict=False):
        assert part.headers["content-type"] == "application/json"
        assert part.filename.endswith(".json")
        report, alone = (
            json.loads(body)
            for body in (
                part.body,
                (await service.segment(photo, accept="application/json")).content,
            )
        )
        assert report["request_id"] == answer.headers["x-request-id"]
        for document in (report, alone):
            del document["request_id"], document["timings_ms"]
        assert report == alone


async def test_batch_parts_default_to_png_with_accept_multipart(service):
    (part,) = parts_of(await send(service, JPEG, accept="multipart/mixed"))
    assert part.headers["content-type"] == "image/png"


async def test_batch_has_no_etag_and_no_304(service):
    answer = await service.client.post(PATH, files={"image": JPEG}, headers={"if-none-match": "*"})
    assert "etag" not in answer.headers
    (part,) = parts_of(answer)
    assert "etag" not in part.headers


async def test_batch_parameters_as_form_fields_match_the_query(service, photos):
    by_form = parts_of(await send(service, *photos[:2], output="cutout", format="webp"))
    by_query = parts_of(await send(service, *photos[:2], query="?output=cutout&format=webp"))
    assert [part.body for part in by_form] == [part.body for part in by_query]
    assert by_form[0].headers["content-type"] == "image/webp"


async def test_batch_background_applies_to_all_photos(service, photos):
    blue = make_jpeg(np.full((30, 40, 3), (0, 0, 250), np.uint8))
    parts = parts_of(await send(service, *photos[:3], background_image=blue, output="composite"))
    for photo, part in zip(photos, parts, strict=False):
        alone = await service.form(
            ("image", photo), ("background_image", blue), ("output", "composite")
        )
        assert part.body == alone.content


async def test_batch_order_is_kept_across_field_aliases(service, photos):
    files = [
        (name, ("a.jpg", photo))
        for name, photo in zip(("file", "image", "image_file"), photos, strict=False)
    ]
    parts = parts_of(await service.client.post(PATH, files=files))
    shapes = [pixels(part.body).shape for part in parts]
    assert shapes == [(40, 60), (42, 62), (44, 64)]


@pytest.mark.parametrize(("body", "status", "code"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
async def test_bad_photo_leaves_other_batch_parts_intact(service, photos, body, status, code):
    first, bad, last = parts_of(await send(service, photos[0], body, photos[1]))

    problem_of(bad, status, code)
    assert bad.headers["content-disposition"] == 'attachment; filename="photo-2.json"'
    assert first.body == (await service.segment(photos[0])).content
    assert last.body == (await service.segment(photos[1])).content


async def test_empty_file_is_an_error_in_one_part(service):
    empty, good = parts_of(await send(service, b"", JPEG))
    problem_of(empty, 400, "missing_image")
    assert good.status == 200


async def test_batch_of_bad_photos_answers_each(service):
    parts = parts_of(await send(service, TEXT, JPEG[:50], query="?output=cutout"))
    problem_of(parts[0], 415, "unsupported_image_type")
    problem_of(parts[1], 422, "undecodable_image")


async def test_require_foreground_rejects_single_batch_parts(service):
    empty = make_png(np.zeros((40, 60, 3), np.uint8))
    rejected, good = parts_of(await send(service, empty, JPEG, query="?require_foreground=true"))
    problem_of(rejected, 422, "foreground_missing")
    assert good.status == 200


async def test_batch_file_names_are_safe_and_unique(service):
    filenames = [
        "holiday.jpg",
        "../../etc/passwd",
        r"C:\photos\me.JPG",
        "holiday.png",
        "Größe 漢字.webp",
        "a\u202eb.jpg",
        'say "hi".jpg',
        "...",
    ]
    files = [("image", (name, JPEG)) for name in filenames]
    parts = parts_of(await service.client.post(PATH, files=files))
    assert [part.filename for part in parts] == [
        "holiday.png",
        "passwd.png",
        "me.png",
        "holiday-2.png",
        "Größe 漢字.png",
        "a_b.png",
        "say %22hi%22.png",
        "image-8.png",
    ]


async def test_batch_at_the_image_limit_is_answered(service):
    assert len(parts_of(await send(service, *[JPEG] * 32))) == 32


async def test_batch_above_the_image_limit_is_413(service):
    """The body stalls, so the error must not wait for its end."""
    answer = await send_chunks(service, *[image_part()] * 33, then_stall=True)
    document = refusal(answer, 413, "too_many_images")
    assert (document["limit"], document["actual"]) == (32, 33)


async def test_batch_body_above_the_limit_is_413(settings_with):
    async with in_process(settings_with(max_batch_body_bytes=5000)) as service:
        declared = refusal(await send(service, bytes(6000)), 413, "body_too_large")
        assert declared["limit"] == 5000
        assert declared["actual"] > 6000
        chunked = await send_chunks(service, image_part(bytes(6000)), then_stall=True)
        refusal(chunked, 413, "body_too_large")


async def test_batch_image_above_the_limit_is_413(settings_with):
    async with in_process(settings_with(max_body_bytes=5000)) as service:
        answer = await send_chunks(
            service, image_part(bytes(5000)), image_part(bytes(5001)), then_stall=True
        )
        document = refusal(answer, 413, "body_too_large")
        assert (document["limit"], document["actual"]) == (5000, 5001)


async def test_stalled_batch_body_is_408(settings_with):
    async with in_process(settings_with(read_timeout_s=0.05)) as service:
        answer = await send_chunks(service, image_part(), then_stall=True)
        document = refusal(answer, 408, "body_too_slow")
        # A batch may have twice the bytes of one image, and so twice the time.
        assert document["limit"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?nope=1", 400, "unknown_parameter"),
        ("?output=nope", 400, "bad_parameter"),
        ("?model=nobody", 404, "unknown_model"),
        ("?output=cutout&format=jpeg", 406, "not_acceptable"),
    ],
)
async def test_bad_batch_parameter_rejects_the_batch(service, query, status, code):
    refusal(await send(service, JPEG, JPEG, query=query), status, code)


async def test_bad_batch_form_rejects_the_batch(service):
    refusal(await send(service, JPEG, size="auto"), 400, "unknown_parameter")
    refusal(await send(service, output="mask"), 400, "missing_image")
    twice = [("image", ("a", JPEG))] + [("background_image", ("b", JPEG))] * 2
    refusal(await service.client.post(PATH, files=twice), 400, "ambiguous_source")
    raw = await service.client.post(PATH, content=JPEG, headers={"content-type": "image/jpeg"})
    refusal(raw, 415, "unsupported_media_type")
    refusal(await service.client.post(PATH), 400, "missing_image")
    refusal(await service.client.get(PATH), 405, "method_not_allowed")


async def test_bad_batch_background_rejects_the_batch(service):
    answer = await send(service, JPEG, background_image=TEXT, output="composite")
    refusal(answer, 415, "unsupported_image_type")


@pytest.mark.parametrize("accept", ["image/gif", "text/html"])
async def test_batch_without_acceptable_type_is_406(service, accept):
    refusal(await send(service, JPEG, accept=accept), 406, "not_acceptable")


async def test_batch_needs_a_key(settings_with):
    async with in_process(settings_with(api_keys="sesame")) as service:
        refusal(await send(service, JPEG), 401, "unauthorized")
        service.client.headers["x-api-key"] = "sesame"
        assert len(parts_of(await send(service, JPEG))) == 1


async def test_openapi_describes_the_batch_route(service):
    document = (await service.client.get("/openapi.json")).json()
    operation = document["paths"][PATH]["post"]
    form = resolved(document, operation["requestBody"]["content"]["multipart/form-data"]["schema"])
    assert form["properties"]["image"]["type"] == "array"
    assert operation["responses"]["200"]["content"].keys() == {"multipart/mixed"}
    limits = (await service.client.get("/v1/capabilities")).json()["limits"]
    assert (limits["batch_images"], limits["batch_body_bytes"]) == (32, 64 * 2**20)
