"""Requests in the spellings of HTTP libraries, forms and other services."""

import pytest

from tests.integration.batch_client import parts_of, send
from tests.integration.pictures import picture, problem, refusal
from tests.support.images import TEXT, make_jpeg, make_png, quadrants

PHOTO = make_png(quadrants(96, 128))
JPEG = make_jpeg(quadrants(96, 128))
LARGE = PHOTO + bytes(20_000)
REMOVEBG = "/v1.0/removebg"
UNDECLARED = ["application/octet-stream", "Application/Octet-Stream", "", None]
CURL_DEFAULT = "application/x-www-form-urlencoded"


def content_type(value: str | None) -> dict[str, str]:
    return {} if value is None else {"content-type": value}


@pytest.mark.parametrize("path", ["/segment", "/v1/segment"])
@pytest.mark.parametrize("sent", [*UNDECLARED, CURL_DEFAULT])
async def test_raw_image_without_image_type_is_segmented(service, path, sent):
    answer = await service.client.post(path, content=PHOTO, headers=content_type(sent))
    assert (picture(answer) == picture(await service.segment(PHOTO))).all()


@pytest.mark.parametrize("sent", [*UNDECLARED, CURL_DEFAULT])
async def test_raw_text_without_image_type_is_refused(service, sent):
    answer = await service.client.post("/v1/segment", content=TEXT, headers=content_type(sent))
    document = refusal(answer, 415, "unsupported_image_type")
    assert "the body is not an image" in document["detail"]
    assert "the field `image`" in document["detail"]


async def test_empty_body_of_octets_is_missing_image(service):
    headers = content_type("application/octet-stream")
    answer = await service.client.post("/v1/segment", content=b"", headers=headers)
    refusal(answer, 400, "missing_image")


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("?output=cutout&invert=True", "?output=cutout&invert=true"),
        ("?crop=1&invert=off", "?crop=true&invert=false"),
        ("?output=composite&background=%23fff", "?output=composite&background=%23ffffff"),
        ("?output=composite&background=Teal", "?output=composite&background=%23008080"),
        ("?format=jpg", "?format=jpeg"),
        ("?threshold=&model=&grow=2", "?grow=2"),
        ("?output=cutout&output=cutout", "?output=cutout"),
        ("?background=blur:3&crop_margin=0&light_wrap=0", ""),
    ],
)
async def test_spellings_of_parameters_have_the_canonical_result(service, query, canonical):
    answer, same = await service.segment(PHOTO, query), await service.segment(PHOTO, canonical)
    assert answer.status_code == 200, answer.text
    assert answer.content == same.content
    assert answer.headers["etag"] == same.headers["etag"]


async def test_empty_form_fields_are_absent(service):
    answer = await service.form(
        ("image", PHOTO), ("threshold", ""), ("background", ""), ("background_image", "")
    )
    assert answer.content == (await service.segment(PHOTO)).content


async def test_parameter_with_one_value_in_query_and_form_is_accepted(service):
    answer = await service.form(("image", PHOTO), ("output", "cutout"), query="?output=cutout")
    assert picture(answer).shape == (96, 128, 4)


async def test_accept_of_image_jpg_returns_jpeg(service):
    picture(await service.segment(PHOTO, accept="image/jpg"), "image/jpeg")


@pytest.mark.parametrize("path", ["/v1/segment", "/v1/segment/batch"])
@pytest.mark.parametrize("photo", [PHOTO, LARGE, TEXT])
@pytest.mark.parametrize("field", ["img", "photo", "data"])
async def test_photo_in_unknown_field_names_the_right_one(service, path, photo, field):
    answer = await service.client.post(path, files={field: ("photo.jpg", photo)})
    detail = refusal(answer, 400, "bad_parameter")["detail"]
    assert detail == f"{field}: is not a field of a file; send the photo as the field `image`"


async def test_parameter_with_file_name_is_accepted(service):
    files = {"image": ("a.png", PHOTO), "output": ("output", b"cutout")}
    assert picture(await service.client.post("/v1/segment", files=files)).shape == (96, 128, 4)


@pytest.mark.parametrize("path", ["/v1/segment", "/v1/segment/batch"])
@pytest.mark.parametrize("name", ["image_url", "url"])
async def test_url_instead_of_photo_is_refused_with_advice(service, path, name):
    form = await service.client.post(path, files={name: (None, "https://example.com/a.jpg")})
    refusal(form, 400, "missing_image")
    query = await service.client.post(f"{path}?{name}=https://example.com/a.jpg")
    refusal(query, 400, "unknown_parameter")
    for answer in (form, query):
        assert "fetches nothing from the network; send the file itself" in problem(answer)["detail"]


async def test_batch_accepts_the_spellings_of_parameters(service):
    fields = {"output": "cutout", "invert": "True", "threshold": ""}
    (part,) = parts_of(await send(service, PHOTO, **fields))
    assert part.body == (await service.segment(PHOTO, "?output=cutout&invert=true")).content


@pytest.mark.parametrize("name", ["image", "file"])
async def test_removebg_photo_in_unknown_field_names_the_right_one(service, name):
    answer = await service.client.post(REMOVEBG, files={name: ("photo.jpg", LARGE)})
    assert answer.status_code == 400
    assert "send the photo as the field `image_file`" in answer.json()["errors"][0]["title"]


@pytest.mark.parametrize(
    "fields",
    [
        {"bg_color": "rebeccapurple"},
        {"crop": "on"},
        {"crop": "YES", "scale": "original", "position": "original"},
        {"size": ["full", "full"]},
    ],
)
async def test_removebg_accepts_the_spellings_of_parameters(service, fields):
    files = {"image_file": ("a.png", PHOTO)}
    answer = await service.client.post(REMOVEBG, files=files, data=fields)
    assert answer.status_code == 200, answer.text


async def test_removebg_parameter_with_two_values_is_refused(service):
    data = {"size": ["full", "hd"]}
    answer = await service.client.post(REMOVEBG, files={"image_file": ("a.png", PHOTO)}, data=data)
    assert answer.status_code == 400
    assert "size: is given twice" in answer.text
