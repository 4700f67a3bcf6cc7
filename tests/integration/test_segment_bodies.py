"""The paths below `/v1/segment` for one kind of body, or for a report."""

import base64

import pytest

from tests.integration.pictures import picture, refusal
from tests.support.images import make_png, quadrants

PHOTO = make_png(quadrants(48, 64))
BASE64 = base64.b64encode(PHOTO).decode()
BINARY = {"content": PHOTO, "headers": {"content-type": "image/png"}}
FORM = {"files": {"image": PHOTO}}
JSON = {"json": {"image": BASE64}}


@pytest.mark.parametrize("media_type", ["image/png", "image/*", "application/octet-stream", ""])
async def test_binary_path_returns_the_image_of_the_form(service, media_type):
    headers = {"content-type": media_type} if media_type else {}
    path = "/v1/segment/binary?output=cutout"
    answer = await service.client.post(path, content=PHOTO, headers=headers)
    form = await service.client.post("/v1/segment", **FORM, data={"output": "cutout"})
    picture(answer)
    assert answer.content == form.content
    assert answer.headers["etag"] == form.headers["etag"]


@pytest.mark.parametrize(
    ("path", "sent"), [("/v1/segment/report", FORM), ("/v1/segment/json", JSON)]
)
@pytest.mark.parametrize("accept", ["*/*", "image/png", "application/problem+json"])
async def test_report_path_returns_a_report_for_any_accept(service, path, sent, accept):
    image = await service.client.post("/v1/segment", **FORM)
    answer = await service.client.post(path, **sent, headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert base64.b64decode(answer.json()["image"]["data"]) == image.content


@pytest.mark.parametrize(
    ("path", "sent", "advice"),
    [
        ("/v1/segment/binary", FORM, "the bytes of the photo"),
        ("/v1/segment/binary", JSON, "the bytes of the photo"),
        ("/v1/segment/json", FORM, "a JSON object"),
        ("/v1/segment/json", BINARY, "a JSON object"),
        ("/v1/segment/report", JSON, "a form"),
        ("/v1/segment/report", BINARY, "a form"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_path_rejects_another_kind_of_body(service, path, sent, advice):
    answer = await service.client.post(path, **sent)
    refusal(answer, 415, "unsupported_media_type")
    assert answer.json()["detail"].startswith(f"The body must be {advice}")
    assert service.gateway.body_memory.reserved == 0


@pytest.mark.parametrize("sent", [FORM, JSON, BINARY], ids=["form", "json", "binary"])
async def test_segment_path_takes_every_kind_of_body(service, sent):
    picture(await service.client.post("/v1/segment", **sent))


@pytest.mark.parametrize("path", ["/v1/segment/json", "/v1/segment/report"])
async def test_report_of_a_transparent_jpeg_is_not_acceptable(service, path):
    fields = {"output": "cutout", "format": "jpeg"}
    sent = (
        FORM | {"data": fields} if path.endswith("report") else {"json": {"image": BASE64} | fields}
    )
    refusal(await service.client.post(path, **sent), 406, "not_acceptable")


async def test_query_and_form_may_both_have_parameters(service):
    path, composite = "/v1/segment?output=composite", {"background": "#102030"}
    both = await service.client.post(path, **FORM, data=composite)
    form = await service.client.post(
        "/v1/segment", **FORM, data={"output": "composite"} | composite
    )
    assert both.content == form.content
    same = await service.client.post(path, **FORM, data={"output": "composite"})
    picture(same)
    refusal(await service.client.post(path, **FORM, data={"output": "mask"}), 400, "bad_parameter")


async def test_paths_answer_304_to_the_etag_of_their_result(service):
    answer = await service.client.post("/v1/segment/binary", **BINARY)
    headers = BINARY["headers"] | {"if-none-match": answer.headers["etag"]}
    again = await service.client.post("/v1/segment/binary", content=PHOTO, headers=headers)
    assert (again.status_code, again.content) == (304, b"")
