"""`POST /v1/segment` with good photos: every source, parameter and representation.

The model's alpha is the red channel, so red and white regions of a photo are "person".
"""

import asyncio
import base64
from typing import Any

import numpy as np
import pytest

from silhouette_seg.errors import EngineFailed
from silhouette_seg.pipeline.rendering import NO_FACES
from tests.integration.batch_client import parts_of, send
from tests.integration.conftest import in_process
from tests.integration.pictures import picture, pixels, refusal
from tests.support.images import (
    make_jpeg,
    make_motion_photo,
    make_png,
    make_webp,
    person,
    quadrants,
)

HEIGHT, WIDTH = 96, 128
RED, GREEN, BLUE, WHITE = (24, 32), (24, 96), (72, 32), (72, 96)
"""Position (row, column) in the middle of each quarter."""


@pytest.fixture(scope="module")
def photo() -> bytes:
    return make_png(quadrants(HEIGHT, WIDTH))


@pytest.fixture(scope="module")
def left_is_person() -> bytes:
    """Red on the left half, black on the right."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, : WIDTH // 2, 0] = 255
    return make_png(image)


def at(image: Any, *places: tuple[int, int]) -> list[Any]:
    return [image[place].tolist() for place in places]


@pytest.mark.parametrize("path", ["/v1/segment", "/segment"])
async def test_photo_as_body_returns_the_mask_as_png(service, photo, path):
    answer = await service.client.post(path, content=photo, headers={"content-type": "image/png"})

    mask = picture(answer)
    assert mask.shape == (HEIGHT, WIDTH)
    assert at(mask, RED, GREEN, BLUE, WHITE) == [255, 0, 0, 255]


@pytest.mark.parametrize("field", ["image", "image_file", "file"])
async def test_photo_as_form_field_returns_the_same_mask(service, photo, field):
    answer = await service.form((field, photo))
    assert answer.content == (await service.segment(photo)).content


@pytest.mark.parametrize("make", [make_jpeg, make_png, make_webp])
async def test_image_type_is_detected_from_content(service, make):
    answer = await service.segment(make(quadrants(HEIGHT, WIDTH)), content_type="image/avif")
    assert at(picture(answer), RED, GREEN) == pytest.approx([255, 0], abs=12)


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_result_of_a_rotated_photo_is_upright(service, orientation):
    photo = make_jpeg(quadrants(HEIGHT, WIDTH), orientation=orientation)

    answer = await service.segment(photo)

    expected = (HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT)
    assert picture(answer).shape == expected


async def test_motion_photo_gives_the_result_of_its_still(service):
    photo = make_motion_photo()
    still = photo[: photo.index(b"\xff\xd9") + 2]

    answer = await service.segment(photo)

    assert picture(answer).shape == (HEIGHT, WIDTH)
    assert answer.content == (await service.segment(still)).content


async def test_response_headers_describe_the_result(service, left_is_person):
    answer = await service.segment(left_is_person)

    headers = answer.headers
    assert headers["x-model"] == "connectnet"
    assert headers["x-model-digest"].startswith("sha256:")
    assert headers["x-backend"] == "CPUExecutionProvider"
    assert headers["x-foreground"] == "present"
    box = [int(headers[f"x-foreground-{side}"]) for side in ("top", "left", "width", "height")]
    assert box == pytest.approx([0, 0, WIDTH // 2, HEIGHT], abs=4)
    assert float(headers["x-mask-coverage"]) == pytest.approx(0.5, abs=0.05)
    assert headers["x-mask-connectivity"] == "1.0000;islands=1"
    assert 0.5 < float(headers["x-mask-confidence"]) <= 1
    stages = [entry.split(";dur=") for entry in headers["server-timing"].split(", ")]
    assert [name for name, _ in stages] == ["decode", "route", "queue", "infer", "post", "encode"]
    assert all(float(milliseconds) >= 0 for _, milliseconds in stages)


@pytest.mark.parametrize(("level", "doubtful"), [(160, True), (255, False)])
async def test_person_with_an_uncertain_mask_is_reported_as_doubtful(service, level, doubtful):
    """The alpha is the red of the photo: 160 is hardly over one half."""
    photo = make_png(np.full((HEIGHT, WIDTH, 3), (level, 0, 0), np.uint8))
    answer = await service.segment(photo)
    assert answer.headers["x-foreground"] == "present"
    assert answer.headers.get("x-foreground-doubtful") == ("true" if doubtful else None)
    report = (await service.segment(photo, accept="application/json")).json()
    assert report["foreground"]["doubtful"] is doubtful


async def test_photo_without_person_returns_an_empty_mask(service):
    empty = make_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    answer = await service.segment(empty)

    assert not picture(answer).any()
    assert answer.headers["x-foreground"] == "none"
    assert "x-foreground-doubtful" not in answer.headers
    assert "x-foreground-top" not in answer.headers
    assert "x-mask-confidence" not in answer.headers
    report = (await service.segment(empty, accept="application/json")).json()
    assert report["mask"]["confidence"] is None


async def test_dominant_person_without_face_detector_has_a_warning(service, photo):
    query = "?person=dominant"
    answer = await service.segment(photo, query)
    assert answer.headers["x-input-warning"] == NO_FACES
    report = await service.segment(photo, query, accept="application/json")
    assert (report.headers["x-input-warning"], report.json()["warning"]) == (NO_FACES, NO_FACES)
    (part,) = parts_of(await send(service, photo, query=query))
    assert part.headers["x-input-warning"] == NO_FACES
    assert "x-input-warning" not in (await service.segment(photo)).headers


async def test_require_foreground_rejects_a_photo_without_person(service, photo):
    empty = make_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    refusal(await service.segment(empty, "?require_foreground=true"), 422, "foreground_missing")
    picture(await service.segment(photo, "?require_foreground=true"))


async def test_cutout_is_transparent_outside_the_person(service, photo):
    image = picture(await service.segment(photo, "?output=cutout"))
    assert at(image, RED, GREEN) == [[255, 0, 0, 255], [0, 0, 0, 0]]


async def test_composite_shows_the_background_colour(service, photo):
    image = picture(await service.segment(photo, "?output=composite&background=%230a141E"))
    assert at(image, RED, GREEN, WHITE) == [[255, 0, 0], [10, 20, 30], [255, 255, 255]]


async def test_composite_background_defaults_to_blur(service):
    step = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    step[:, WIDTH // 2 :, 1] = 200

    async def steepest(query: str) -> int:
        image = picture(await service.segment(make_png(step), f"?output=composite{query}"))
        return int(np.abs(np.diff(image[..., 1].astype(int), axis=1)).max())

    default = await steepest("")
    assert await steepest("&background=blur:3") == default
    assert 200 > default > await steepest("&background=blur:9") > 0


async def test_composite_shows_the_uploaded_background(service, photo):
    blue = make_jpeg(np.full((30, 40, 3), (0, 0, 250), np.uint8))

    answer = await service.form(
        ("image", photo), ("background_image", blue), ("output", "composite")
    )

    assert at(picture(answer), RED, GREEN)[0] == [255, 0, 0]
    assert at(picture(answer), GREEN)[0] == pytest.approx([0, 0, 250], abs=4)


async def test_empty_background_file_input_is_ignored(service, photo):
    files = [("image", ("a.png", photo)), ("background_image", ("", b""))]
    picture(await service.client.post("/v1/segment", files=files))


async def test_grow_moves_the_edge_in_both_directions(service, left_is_person):
    async def covered(query: str) -> int:
        return int((picture(await service.segment(left_is_person, query)) > 127).sum())

    plain = await covered("")
    assert await covered("?grow=6") == pytest.approx(plain + 6 * HEIGHT, abs=HEIGHT)
    assert await covered("?grow=-6") == pytest.approx(plain - 6 * HEIGHT, abs=HEIGHT)


async def test_threshold_hardens_and_feather_softens_the_mask(service, left_is_person):
    hard = picture(await service.segment(left_is_person, "?threshold=0.5"))
    soft = picture(await service.segment(left_is_person, "?threshold=0.5&feather=8"))

    assert set(np.unique(hard)) == {0, 255}
    assert len(np.unique(soft)) > 8


async def test_invert_complements_the_mask(service, left_is_person):
    plain = picture(await service.segment(left_is_person))
    inverted = picture(await service.segment(left_is_person, "?invert=true"))
    assert (inverted == 255 - plain).all()


async def test_crop_shows_the_person_with_a_margin(service, left_is_person):
    tight = picture(await service.segment(left_is_person, "?crop=true"))
    roomy = picture(await service.segment(left_is_person, "?crop=true&crop_margin=25"))
    cutout = picture(await service.segment(left_is_person, "?crop=true&output=cutout"))

    assert tight.shape == pytest.approx((HEIGHT, WIDTH // 2), abs=4)
    assert roomy.shape[1] == pytest.approx(1.25 * tight.shape[1], abs=1)
    assert cutout.shape == (*tight.shape, 4)


async def test_crop_without_person_keeps_the_size(service):
    empty = make_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert picture(await service.segment(empty, "?crop=true")).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("name", ["auto", "connectnet"])
async def test_model_parameter_selects_the_model(service, photo, name):
    answer = await service.segment(photo, f"?model={name}")
    assert answer.headers["x-model"] == "connectnet"


async def test_explicit_default_parameters_change_nothing(service, photo):
    query = "?model=auto&output=mask&format=png&person=all&refine=guided&decontaminate=true&grow=0"
    query += "&feather=0&light_wrap=0&crop=false&invert=false&require_foreground=false"
    assert (await service.segment(photo, query)).content == (await service.segment(photo)).content


async def test_parameters_as_form_fields_match_the_query(service, photo):
    by_form = await service.form(("image", photo), ("output", "cutout"), ("format", "webp"))
    by_query = await service.segment(photo, "?output=cutout&format=webp")
    assert by_form.content == by_query.content
    assert by_form.headers["etag"] == by_query.headers["etag"]


@pytest.mark.parametrize("name", ["png", "webp", "jpeg", "avif"])
async def test_format_parameter_overrides_accept(service, photo, name):
    answer = await service.segment(photo, f"?format={name}", accept="text/html, image/tiff")
    picture(answer, f"image/{name}")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("image/webp", "image/webp"),
        ("image/jpeg;q=0.4, image/webp;q=0.9", "image/webp"),
        ("image/avif,*/*;q=0.5", "image/avif"),
        ("image/avif,image/webp,image/*;q=0.8,*/*;q=0.5", "image/webp"),
        ("image/png;q=0, image/*", "image/webp"),
    ],
)
async def test_accept_selects_the_image_format(service, photo, accept, media_type):
    answer = await service.segment(photo, accept=accept)
    picture(answer, media_type)
    assert answer.headers["vary"] == "Accept"


async def test_report_contains_the_image_and_header_values(service, left_is_person):
    answer = await service.segment(
        left_is_person,
        "?output=cutout&crop=true&crop_margin=10&format=webp",
        accept="application/json",
    )

    report = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert report["request_id"] == answer.headers["x-request-id"]
    assert report["output"] == "cutout"
    assert report["model"]["name"] == "connectnet"
    assert report["photo"] == {"height": HEIGHT, "width": WIDTH, "colour": "srgb"}
    assert report["foreground"]["present"] is True
    assert str(report["foreground"]["box"]["width"]) == answer.headers["x-foreground-width"]
    assert report["mask"]["islands"] == 1
    assert report["timings_ms"].keys() == {"decode", "route", "queue", "infer", "post", "encode"}
    image = pixels(base64.b64decode(report["image"]["data"]))
    assert report["image"]["media_type"] == "image/webp"
    assert image.shape == (report["image"]["height"], report["image"]["width"], 4)


async def test_jpeg_cutout_is_rejected_with_the_reason(service, photo):
    by_format = refusal(
        await service.segment(photo, "?output=cutout&format=jpeg"), 406, "not_acceptable"
    )
    by_accept = refusal(
        await service.segment(photo, "?output=cutout", accept="image/jpeg"), 406, "not_acceptable"
    )
    assert "transparen" in by_format["detail"]
    assert "transparen" in by_accept["detail"]


async def test_matching_etag_skips_the_segmentation(settings_with, gated, photo):
    async with in_process(settings_with(engine="gated")) as service:
        first = await service.segment(photo)
        etag = first.headers["etag"]
        done = len(gated[0].batch_sizes)

        again = await service.segment(photo, if_none_match=f'"other", {etag}')

        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == etag
        assert len(gated[0].batch_sizes) == done


async def test_etag_depends_on_content_parameters_and_representation(
    service, photo, left_is_person
):
    answers = [
        await service.segment(photo),
        await service.segment(left_is_person),
        await service.segment(photo, "?invert=true"),
        await service.segment(photo, "?format=webp"),
        await service.segment(photo, accept="application/json"),
    ]
    etags = {answer.headers["etag"] for answer in answers}
    assert len(etags) == len(answers)
    assert (await service.segment(photo)).headers["etag"] in etags
    assert all(etag.startswith('"') for etag in etags)


async def test_concurrent_photos_get_their_own_results(settings_with):
    """Each photo has its own size and colour, so that a mix-up is visible."""
    async with in_process(settings_with(max_batch=4)) as service:
        reds = [int(red) for red in np.linspace(160, 255, 24)]
        photos = [
            make_png(np.full((40 + n, 60 + n, 3), (red, 0, 0), np.uint8))
            for n, red in enumerate(reds)
        ]
        answers = await asyncio.gather(*(service.segment(photo) for photo in photos))

    for n, (red, answer) in enumerate(zip(reds, answers, strict=True)):
        mask = picture(answer)
        assert mask.shape == (40 + n, 60 + n)
        assert (mask == red).all()


async def test_engine_failure_is_503_and_temporary(settings_with, gated, photo):
    async with in_process(settings_with(engine="gated")) as service:
        gated[0].fail_next(EngineFailed("The engine failed."))
        document = refusal(await service.segment(photo), 503, "engine_failed")
        assert document["retryable"] is True
        picture(await service.segment(photo))


async def test_unexpected_exception_is_500_without_details(settings_with, gated, photo, caplog):
    async with in_process(settings_with(engine="gated")) as service:
        gated[0].fail_next(ZeroDivisionError("secret /path"))
        answer = await service.segment(photo, x_request_id="look-me-up")

    refusal(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "secret /path" in caplog.text


async def test_mask_has_the_size_of_the_photo(service):
    for height, width in ((1, 1), (1, 50), (50, 1), (333, 111), (700, 900)):
        photo = make_jpeg(person(height, width))
        assert picture(await service.segment(photo)).shape == (height, width)
