"""Client errors: each has its status and code, and the service keeps working."""

from collections.abc import AsyncIterator

import numpy as np
import pytest
from PIL import Image

from silhouette_seg.api.request.multipart import MAX_PARTS, MAX_TEXT_BYTES
from tests.integration.conftest import in_process
from tests.integration.pictures import picture, problem, refusal
from tests.support.bad_images import BAD_IMAGES
from tests.support.images import (
    TEXT,
    make_bomb,
    make_jpeg,
    make_png,
    make_png16,
    person,
    quadrants,
)

JPEG = make_jpeg(quadrants())


@pytest.fixture(autouse=True)
async def resources_are_released(service) -> AsyncIterator[None]:
    """After every error no request, byte or queue slot is held, and photos are processed."""
    yield
    assert service.gateway.requests.count == 0
    assert service.gateway.photo_queue.running_pixels == 0
    assert service.gateway.body_memory.reserved == 0
    picture(await service.segment(JPEG))


@pytest.mark.parametrize(("body", "status", "code"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
async def test_bad_image_is_rejected_as_body_and_field(service, body, status, code):
    refusal(await service.segment(body), status, code)
    refusal(await service.form(("image", body)), status, code)


@pytest.mark.parametrize(("body", "status", "code"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
async def test_bad_background_is_rejected_like_a_bad_photo(service, body, status, code):
    answer = await service.form(
        ("image", JPEG), ("background_image", body), ("output", "composite")
    )
    refusal(answer, status, code)


@pytest.mark.parametrize(
    "body",
    [
        make_jpeg(mode="CMYK"),
        make_jpeg(mode="L"),
        make_jpeg(progressive=True),
        make_png(mode="P"),
        make_png(mode="L"),
        make_png(mode="1"),
        make_png(np.dstack([person(), person()[..., 0]])),
        make_png(np.zeros((1, 1, 3), np.uint8)),
        make_png(np.zeros((2, 100, 3), np.uint8)),
    ],
    ids=[
        "cmyk",
        "grey jpeg",
        "progressive",
        "palette",
        "grey png",
        "1 bit",
        "rgba",
        "1x1",
        "aspect at the limit",
    ],
)
async def test_unusual_image_is_processed(service, body):
    picture(await service.segment(body, "?output=composite&background=%23ffffff"))


@pytest.mark.parametrize("channels", [1, 3, 4])
async def test_sixteen_bit_png_is_processed(settings_with, channels):
    async with in_process(settings_with(max_aspect=64)) as service:
        picture(await service.segment(make_png16(channels)))


async def test_problem_document_reports_limit_and_actual(service):
    pixels = refusal(await service.segment(make_bomb(16_000, 16_000)), 422, "too_many_pixels")
    assert (pixels["limit"], pixels["actual"]) == (64_000_000, 256_000_000)


async def test_phone_photo_with_50_megapixels_is_processed(service):
    photo = make_jpeg(Image.new("RGB", (8160, 6144), (200, 30, 30)))
    assert picture(await service.segment(photo)).shape == (6144, 8160)


async def test_photo_above_the_pixel_limit_is_rejected(service):
    over = make_jpeg(Image.new("L", (8000, 8001)))
    document = refusal(await service.segment(over), 422, "too_many_pixels")
    assert (document["limit"], document["actual"]) == (64_000_000, 64_008_000)


async def test_body_above_the_default_limit_is_413(service):
    whole = JPEG + bytes(32 * 2**20 - len(JPEG))
    picture(await service.segment(whole))
    document = refusal(await service.segment(whole + b"\0"), 413, "body_too_large")
    assert document["limit"] == 33_554_432


async def test_body_without_image_is_missing_image(service):
    refusal(await service.segment(b""), 400, "missing_image")
    refusal(await service.client.post("/v1/segment"), 400, "missing_image")
    refusal(await service.form(("image", b"")), 400, "missing_image")
    refusal(await service.form(("output", "mask")), 400, "missing_image")


@pytest.mark.parametrize("second", ["image", "image_file", "file"])
async def test_second_image_field_is_ambiguous(service, second):
    answer = await service.form(("image", JPEG), (second, JPEG))
    fields = "image" if second == "image" else f"image, {second}"
    expected = f"Send exactly one image; there are 2, as {fields}. /v1/segment/batch takes many."
    assert refusal(answer, 400, "ambiguous_source")["detail"] == expected


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/segment", "image"),
        ("/v1/segment", "background_image"),
        ("/v1/segment/batch", "image"),
        ("/api/remove", "file"),
        ("/v1.0/removebg", "image_file"),
    ],
)
async def test_file_name_sent_as_text_is_explained(service, path, field):
    """`curl -F image=photo.jpg`, without the @ in front of the name, sends a text."""
    fields = {field: (None, "photo.jpg")}
    if field == "background_image":
        fields |= {"image": ("a.jpg", JPEG), "output": (None, "composite")}
    answer = await service.client.post(path, files=fields)
    assert f"holds a text, not a file: with curl, write -F {field}=@FILE." in answer.text
    bytes_of_a_file = await service.client.post(path, files=fields | {field: (None, b"%PDF\xff")})
    assert "Allowed types are JPEG" in bytes_of_a_file.text


async def test_background_under_the_wrong_name_has_an_error_with_advice(service):
    composite = ("output", "composite")
    as_text = await service.form(("image", JPEG), composite, ("background_image", b"teal"))
    problem = refusal(as_text, 415, "unsupported_image_type")
    assert "a colour or blur is the parameter background" in problem["detail"]
    as_file = {"image": JPEG, "background": ("beach.jpg", JPEG)}
    answer = await service.client.post("/v1/segment?output=composite", files=as_file)
    assert "background_image" in refusal(answer, 400, "bad_parameter")["detail"]


async def test_second_background_is_rejected(service):
    both = await service.form(
        ("image", JPEG), ("background_image", JPEG), ("background_image", JPEG)
    )
    refusal(both, 400, "ambiguous_source")
    with_parameter = await service.form(
        ("image", JPEG),
        ("background_image", JPEG),
        ("background", "blur:5"),
        ("output", "composite"),
    )
    refusal(with_parameter, 400, "bad_parameter")


@pytest.mark.parametrize(
    ("content_type", "status", "code"),
    [
        ("application/json", 400, "malformed_body"),
        ("text/plain", 415, "unsupported_image_type"),
        ("multipart/form-data", 400, "malformed_body"),
        ("multipart/form-data; boundary=" + "x" * 300, 400, "malformed_body"),
        ("multipart/form-data; boundary=other", 400, "malformed_body"),
        ("multipart/mixed; boundary=x", 400, "malformed_body"),
    ],
)
async def test_wrong_content_type_is_rejected(service, content_type, status, code):
    refusal(await service.segment(JPEG, content_type=content_type), status, code)


def form_of(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


IMAGE_PART = b'Content-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + JPEG


@pytest.mark.parametrize(
    "body",
    [
        b"not a form at all",
        form_of(IMAGE_PART, end=b""),
        form_of(IMAGE_PART, end=b"--b"),
        form_of(IMAGE_PART)[:-300],
        form_of(b"no headers"),
        form_of(b"Content-Disposition: form-data\r\n\r\nx"),
        form_of(b'Content-Disposition: attachment; name="image"\r\n\r\nx'),
        form_of(b"Content-Type: image/jpeg\r\n\r\n" + JPEG),
        form_of(b"X: " + b"y" * 9000 + b"\r\n\r\n"),
        form_of(*[b'Content-Disposition: form-data; name="grow"\r\n\r\n1'] * (MAX_PARTS + 1)),
    ],
    ids=[
        "no form",
        "no end",
        "half an end",
        "cut",
        "no headers",
        "no name",
        "attachment",
        "no disposition",
        "huge header",
        "many parts",
    ],
)
async def test_malformed_form_is_rejected(service, body):
    answer = await service.segment(body, content_type="multipart/form-data; boundary=b")
    refusal(answer, 400, "malformed_body")


async def test_handwritten_form_is_processed(service):
    answer = await service.segment(
        form_of(IMAGE_PART), content_type="multipart/form-data; boundary=b"
    )
    picture(answer)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("outputs=mask", "unknown_parameter"),
        ("image_url=http://example.org/a.jpg", "unknown_parameter"),
        ("image=x", "unknown_parameter"),
        ("=", "unknown_parameter"),
        ("%ff=1", "unknown_parameter"),
        ("output=mask&output=cutout", "bad_parameter"),
        ("output=Mask", "bad_parameter"),
        ("background=%23ffff&output=composite", "bad_parameter"),
        ("background=reddish&output=composite", "bad_parameter"),
        ("background=blur:0&output=composite", "bad_parameter"),
        ("background=blur:26&output=composite", "bad_parameter"),
        ("background=blur:nan&output=composite", "bad_parameter"),
        ("background=%23ffffff", "bad_parameter"),
        ("format=gif", "bad_parameter"),
        ("person=somebody", "bad_parameter"),
        ("person=Dominant", "bad_parameter"),
        ("refine=very", "bad_parameter"),
        ("decontaminate=2", "bad_parameter"),
        ("layout=left", "bad_parameter"),
        ("layout=scale:5", "bad_parameter"),
        ("layout=" + ";".join(["flip:true"] * 9), "bad_parameter"),
        ("layout=x:0&crop=true", "bad_parameter"),
        ("light_wrap=10", "bad_parameter"),
        ("output=composite&light_wrap=101", "bad_parameter"),
        ("domain=portrait", "bad_parameter"),
        ("domain=half_body", "bad_parameter"),
        ("grow=1.5", "bad_parameter"),
        ("grow=101", "bad_parameter"),
        ("grow=1_0", "bad_parameter"),
        ("grow=" + "9" * 5000, "bad_parameter"),
        ("feather=-1", "bad_parameter"),
        ("feather=inf", "bad_parameter"),
        ("feather=nan", "bad_parameter"),
        ("crop=si", "bad_parameter"),
        ("crop_margin=5", "bad_parameter"),
        ("crop=true&crop_margin=101", "bad_parameter"),
        ("invert=T", "bad_parameter"),
        ("threshold=1.1", "bad_parameter"),
        ("threshold=nan", "bad_parameter"),
        ("require_foreground=%20", "bad_parameter"),
    ],
)
async def test_bad_parameter_is_rejected(service, query, code):
    refusal(await service.segment(JPEG, f"?{query}"), 400, code)


async def test_unknown_model_lists_the_served_ones(service):
    document = refusal(await service.segment(JPEG, "?model=nobody"), 404, "unknown_model")
    assert "connectnet" in document["detail"]


async def test_parameter_in_query_and_form_is_rejected(service):
    answer = await service.form(("image", JPEG), ("output", "mask"), query="?output=cutout")
    refusal(answer, 400, "bad_parameter")


async def test_form_field_without_parameter_is_rejected(service):
    refusal(await service.form(("image", JPEG), ("size", "auto")), 400, "unknown_parameter")
    refusal(await service.form(("image", JPEG), ("photo", JPEG)), 400, "bad_parameter")


async def test_form_field_must_be_short_utf8_text(service):
    refusal(await service.form(("image", JPEG), ("grow", b"\xff")), 400, "bad_parameter")
    long = "1" * (MAX_TEXT_BYTES + 1)
    refusal(await service.form(("image", JPEG), ("grow", long)), 400, "bad_parameter")


@pytest.mark.parametrize("accept", ["text/html", "image/gif", "image/png;q=0", "nonsense"])
async def test_accept_without_available_type_is_406(service, accept):
    refusal(await service.segment(JPEG, accept=accept), 406, "not_acceptable")


@pytest.mark.parametrize("path", ["/nope", "/v1/segment/nope", "/v1/segment/", "/web/nope.js"])
async def test_unknown_path_is_404(service, path):
    refusal(await service.client.get(path), 404, "not_found")
    if not path.startswith("/web"):
        refusal(await service.client.post(path, content=JPEG), 404, "not_found")


@pytest.mark.parametrize("path", ["/../service/settings.py", "/web/..%2f..%2fpyproject.toml"])
async def test_path_outside_the_page_folder_is_404(service, path):
    refusal(await service.client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/segment", "OPTIONS, POST"),
        ("HEAD", "/v1/segment", "OPTIONS, POST"),
        ("PUT", "/v1/segment", "OPTIONS, POST"),
        ("POST", "/livez", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/models", "GET, HEAD, OPTIONS"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
    ],
)
async def test_wrong_method_is_405_with_allow(service, method, path, allow):
    answer = await service.client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allow
    if method != "HEAD":
        refusal(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/v1/segment", "/livez", "/v1/models"])
async def test_options_answers_the_allowed_methods(service, path):
    answer = await service.client.options(path)
    assert answer.status_code == 204
    assert "OPTIONS" in answer.headers["allow"]


async def test_problem_documents_share_one_shape(service):
    answers = [
        await service.segment(TEXT),
        await service.client.get("/nope"),
        await service.client.put("/livez"),
        await service.segment(JPEG, "?nope=1"),
    ]
    documents = [problem(answer) for answer in answers]
    assert len({document["type"] for document in documents}) == len(documents)
    assert [document["instance"] for document in documents] == [
        "/v1/segment",
        "/nope",
        "/livez",
        "/v1/segment",
    ]


async def test_layout_with_too_many_pixels_is_rejected(service):
    large = make_bomb(7000, 7000)
    layout = ";".join(["flip:true"] * 3)
    document = refusal(await service.segment(large, f"?layout={layout}"), 400, "bad_parameter")
    assert document["limit"] == 100_000_000
    assert document["actual"] == 147_000_000
