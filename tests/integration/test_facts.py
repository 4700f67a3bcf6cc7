"""Trimaps, masks of people, faces and blurred faces over HTTP.

The repository has connectnet and the face detector. The detector's face is as high as the photo,
and as wide as the green of its middle pixel. The alpha is the red of the photo.
"""

import base64
import json
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as reference

from tests.integration.batch_client import parts_of
from tests.integration.conftest import InProcess, in_process
from tests.integration.pictures import picture, pixels, refusal
from tests.support.images import make_png
from tests.support.tiny_model import tiny_spec, write_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEIGHT, WIDTH = 96, 128
JSON = "application/json"
BLURRED = "?output=composite&background=blur_faces"


@pytest.fixture(scope="module")
def with_detector(tmp_path_factory, settings_with):
    folder = tmp_path_factory.mktemp("with_detector")
    for name in ("connectnet", "face_detector", "md_trisenet"):
        write_tiny_model(folder, tiny_spec(name))
    return settings_with(model_repository=folder)


@pytest.fixture
async def service(with_detector):
    async with in_process(with_detector) as running:
        yield running


def photo(green: int = 0) -> bytes:
    """Returns two people in red; `green` of 255 is the width of the face over the left one."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[8:88, 4:44, 0] = image[8:88, 84:124, 0] = 255
    image[HEIGHT // 2 - 4 : HEIGHT // 2 + 4, WIDTH // 2 - 4 : WIDTH // 2 + 4, 1] = green
    return make_png(image)


async def report_of(service: InProcess, query: str, image: bytes | None = None) -> dict[str, Any]:
    answer = await service.segment(image or photo(), query, accept=JSON)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("format", ["png", "webp", "avif"])
async def test_trimap_is_exact_in_every_lossless_format(service, format):
    answer = await service.segment(photo(), f"?output=trimap&trimap_band=4&format={format}")
    image = picture(answer, f"image/{format}")
    levels = image if image.ndim == 2 else image[..., 0]
    assert levels.shape == (HEIGHT, WIDTH)
    assert set(np.unique(levels)) == {0, 128, 255}
    assert levels[48, [24, 64, 104]].tolist() == [255, 0, 255]
    assert (levels[48, 41:47] == 128).all()


async def test_trimap_of_an_empty_photo_is_background(service):
    empty = make_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert not picture(await service.segment(empty, "?output=trimap")).any()


@pytest.mark.parametrize(("query", "accept"), [("&format=jpeg", "*/*"), ("", "image/jpeg")])
async def test_trimap_in_jpeg_is_not_acceptable(service, query, accept):
    answer = await service.segment(photo(), f"?output=trimap{query}", accept=accept)
    assert "three exact levels" in refusal(answer, 406, "not_acceptable")["detail"]


async def test_run_lengths_of_people_add_up_to_the_mask(service):
    report = await report_of(service, "?masks=rle")
    shown = pixels(base64.b64decode(report["image"]["data"])) > 127
    masks = [reference.decode(person["segmentation"]) for person in report["people"]]
    assert len(masks) == 2
    assert (sum(masks) == shown).all()
    for person, mask in zip(report["people"], masks, strict=True):
        assert person["area"] == mask.sum()
        assert person["bbox"] == reference.toBbox(person["segmentation"]).tolist()
        assert (person["iscrowd"], person["faces"]) == (0, [])
        assert 0.5 <= person["confidence"] <= 1
    assert report["people_separated"] is False
    assert report["people_reason"] == "A body has no visible face, so it may be several people."
    assert (report["faces"], report["faces_blurred"]) == (None, None)


async def test_polygons_agree_with_run_lengths(service):
    exact = (await report_of(service, "?masks=rle"))["people"]
    polygons = (await report_of(service, "?masks=polygon"))["people"]
    for one, other in zip(exact, polygons, strict=True):
        drawn = reference.merge(reference.frPyObjects(other["segmentation"], HEIGHT, WIDTH))
        assert reference.iou([drawn], [one["segmentation"]], [0])[0, 0] >= 0.97
        assert (one["bbox"], one["area"]) == (other["bbox"], other["area"])


@pytest.mark.parametrize("query", ["&crop=true", "&layout=x:0.2", "&invert=true", "&output=cutout"])
async def test_masks_are_those_of_the_photo_for_any_image(service, query):
    plain, other = [await report_of(service, f"?masks=rle{more}") for more in ("", query)]
    assert other["people"] == plain["people"]


async def test_face_belongs_to_its_person(service):
    report = await report_of(service, "?masks=rle&faces=true", photo(green=80))
    (face,) = report["faces"]
    assert face["box"] == {"top": 0, "left": 0, "width": round(80 / 255 * WIDTH), "height": HEIGHT}
    assert face["score"] == 1
    assert sorted(len(person["faces"]) for person in report["people"]) == [0, 1]
    owner = max(report["people"], key=lambda person: len(person["faces"]))
    assert owner["bbox"][0] < WIDTH // 2


async def test_people_of_a_dominant_person_are_one(service):
    report = await report_of(service, "?masks=rle&person=dominant", photo(green=80))
    (person,) = report["people"]
    assert person["faces"]
    assert len(report["foreground"]["pieces"]) == 2


@pytest.mark.parametrize("query", ["masks=rle", "faces=true"])
async def test_facts_without_a_report_are_rejected(service, query):
    document = refusal(await service.segment(photo(), f"?{query}"), 400, "bad_parameter")
    assert document["detail"].endswith("send Accept: application/json")


@pytest.mark.parametrize(("green", "count"), [(0, 0), (80, 1)])
async def test_number_of_blurred_faces_is_reported(service, green, count):
    answer = await service.segment(photo(green), BLURRED)
    assert answer.headers["x-faces-blurred"] == str(count)
    unchanged = (picture(answer) == pixels(photo(green))).all(axis=2)
    assert unchanged.all() == (count == 0)
    assert unchanged[:, 64:].all()
    assert (await report_of(service, BLURRED, photo(green)))["faces_blurred"] == count
    assert "x-faces-blurred" not in (await service.segment(photo(green))).headers


async def test_given_domain_does_not_prevent_blurring(service):
    answer = await service.segment(photo(80), f"{BLURRED}&model=md_trisenet&domain=no_face")
    assert (answer.headers["x-faces-blurred"], answer.headers["x-domain"]) == ("1", "no_face")


async def test_blurred_faces_of_a_json_photo_and_a_batch(service):
    members = {"image": base64.b64encode(photo(80)).decode(), "output": "composite"}
    answer = await service.client.post("/v1/segment", json=members | {"background": "blur_faces"})
    assert answer.headers["x-faces-blurred"] == "1"
    files = [("image", ("a.png", photo(80))), ("image", ("b.png", photo()))]
    batch = await service.client.post(f"/v1/segment/batch{BLURRED}", files=files)
    assert [part.headers["x-faces-blurred"] for part in parts_of(batch)] == ["1", "0"]


async def test_batch_parts_have_people_and_faces(service):
    files = [("image", ("a.png", photo(80)))] * 2
    batch = await service.client.post(
        "/v1/segment/batch?masks=rle&faces=true", files=files, headers={"accept": JSON}
    )
    for part in parts_of(batch):
        assert len(json.loads(part.body)["people"]) == 2
        assert len(json.loads(part.body)["faces"]) == 1


@pytest.mark.parametrize("query", ["?faces=true", BLURRED])
async def test_missing_detector_rejects_what_needs_it(tmp_path, settings_with, query):
    write_tiny_model(tmp_path, tiny_spec("connectnet"))
    async with in_process(settings_with(model_repository=tmp_path)) as service:
        answer = await service.segment(photo(), query, accept=JSON)
        document = refusal(answer, 400, "bad_parameter")
        assert "needs the model face_detector" in document["detail"]
        report = await report_of(service, "?masks=rle")
    assert report["people_separated"] is False
    assert "no face detector" in report["people_reason"]
