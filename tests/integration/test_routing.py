"""Tests of routing by faces, with a repository of four models.

The detector's face is as high as the photo. Its width is the share of green in the photo's middle.
The alpha of md_trisenet is red xor domain.
"""

import asyncio
import re

import numpy as np
import pytest

from silhouette_seg.pipeline.faces import Domain
from tests.integration.conftest import in_process, until
from tests.integration.pictures import picture, refusal
from tests.support.images import make_jpeg, make_png
from tests.support.tiny_model import tiny_spec, write_tiny_model

NAMES = ("connectnet", "face_detector", "md_trisenet", "rcrnet")
RED = 192


@pytest.fixture(scope="module")
def four(tmp_path_factory, settings_with):
    """Returns a factory of settings for a repository with all four models."""
    folder = tmp_path_factory.mktemp("four")
    for name in NAMES:
        write_tiny_model(folder, tiny_spec(name))
    return lambda **overrides: settings_with(model_repository=folder, **overrides)


@pytest.fixture
async def service(four):
    async with in_process(four()) as running:
        yield running


def photo(green: int, hw: tuple[int, int] = (48, 64)) -> bytes:
    return make_png(np.full((*hw, 3), (RED, green, 0), np.uint8))


def expected(domain: Domain) -> int:
    return RED ^ domain


@pytest.mark.parametrize(
    ("green", "domain", "ratio"),
    [
        (0, Domain.NO_FACE, "0.0000"),
        (1, Domain.FAR_SHOT, "0.0039"),
        (20, Domain.HALF_BODY, "0.0784"),
        (200, Domain.HEAD_SHOT, "0.7843"),
    ],
)
async def test_headers_report_domain_and_face_ratio(service, green, domain, ratio):
    answer = await service.segment(photo(green), "?model=md_trisenet")
    assert answer.headers["x-domain"] == domain.label
    assert answer.headers["x-face-ratio"] == ratio
    assert (picture(answer) == expected(domain)).all()


async def test_given_domain_is_used_without_a_face_ratio(service):
    answer = await service.segment(photo(200), "?model=md_trisenet&domain=far_shot")
    assert answer.headers["x-domain"] == "far_shot"
    assert "x-face-ratio" not in answer.headers
    assert (picture(answer) == expected(Domain.FAR_SHOT)).all()


@pytest.mark.parametrize("name", ["connectnet", "rcrnet"])
async def test_model_without_domain_reports_none_and_rejects_one(service, name):
    answer = await service.segment(photo(200), f"?model={name}")
    assert (picture(answer) == RED).all()
    assert not {"x-domain", "x-face-ratio"} & answer.headers.keys()
    document = refusal(
        await service.segment(photo(200), f"?model={name}&domain=far_shot"), 400, "bad_parameter"
    )
    assert document["detail"].startswith(f"domain: has no effect on {name}")
    assert "md_trisenet" in document["detail"]


@pytest.mark.parametrize(
    ("query", "domain", "ratio"),
    [
        ("model=md_trisenet", "half_body", pytest.approx(20 / 255)),
        ("model=md_trisenet&domain=no_face", "no_face", None),
        ("model=connectnet", None, None),
        ("model=connectnet&person=dominant", "half_body", pytest.approx(20 / 255)),
    ],
)
async def test_report_agrees_with_the_headers(service, query, domain, ratio):
    answer = await service.segment(photo(20), f"?{query}", accept="application/json")
    report = answer.json()
    assert (report["domain"], report["face_ratio"], report["warning"]) == (domain, ratio, None)


async def test_route_is_a_stage_of_responses_and_metrics(service):
    timing = (await service.segment(photo(20), "?model=md_trisenet")).headers["server-timing"]
    assert float(re.search(r"route;dur=([0-9.]+)", timing)[1]) > 0
    metrics = (await service.client.get("/metrics")).text
    assert re.search(
        r'stage_seconds_count\{kind="photo",model="md_trisenet",stage="route"\} [1-9]', metrics
    )
    assert re.search(r'domains_total\{domain="\w+",kind="photo",model="md_trisenet"\} 1', metrics)
    assert re.search(r'silhouette_batch_rows_count\{model="face_detector"\} [1-9]', metrics)


async def test_concurrent_photos_get_their_own_domains(four):
    greens = {0: Domain.NO_FACE, 1: Domain.FAR_SHOT, 2: Domain.WHOLE_BODY} | {
        20: Domain.HALF_BODY,
        50: Domain.CLOSE_SHOT,
        200: Domain.HEAD_SHOT,
    }
    async with in_process(four(max_batch=8)) as service:
        answers = await asyncio.gather(
            *(service.segment(photo(green), "?model=md_trisenet") for green in [*greens] * 4)
        )
    for domain, answer in zip([*greens.values()] * 4, answers, strict=True):
        assert answer.headers["x-domain"] == domain.label
        assert (picture(answer) == expected(domain)).all()


async def test_domain_headers_are_exposed_to_other_origins(four):
    async with in_process(four(cors_origins=("https://a.example",))) as service:
        answer = await service.segment(photo(20), "?model=md_trisenet", origin="https://a.example")
    exposed = answer.headers["access-control-expose-headers"]
    assert {"X-Domain", "X-Face-Ratio"} <= set(exposed.split(", "))


async def test_etag_differs_with_the_domain(service):
    queries = ("?model=md_trisenet", "?model=md_trisenet&domain=half_body")
    answers = [await service.segment(photo(20), query) for query in queries]
    assert answers[0].content == answers[1].content
    assert answers[0].headers["etag"] != answers[1].headers["etag"]


async def test_reduced_decode_has_the_photos_domain(service):
    """The photo is decoded at a reduced size for a mask, and at full size for a cut-out."""
    jpeg = make_jpeg(np.full((768, 1024, 3), (RED, 20, 0), np.uint8))
    mask = await service.segment(jpeg, "?model=md_trisenet")
    cutout = await service.segment(jpeg, "?model=md_trisenet&output=cutout")
    assert picture(mask).shape == picture(cutout).shape[:2] == (768, 1024)
    assert mask.headers["x-domain"] == cutout.headers["x-domain"] == "half_body"


async def test_face_detector_is_listed_but_cannot_be_requested(service):
    await until(lambda: not service.gateway.registry.cold)
    listed = (await service.client.get("/v1/models")).json()
    tasks = {model["name"]: model["task"] for model in listed["models"]}
    assert tasks == {name: "segmentation" for name in NAMES} | {"face_detector": "faces"}
    assert {tuple(model["inputs"]) for model in listed["models"]} == {
        ("image",),
        ("image", "domain"),
        ("image", "prior"),
    }
    assert all(model["ready"] for model in listed["models"])
    document = refusal(
        await service.segment(photo(0), "?model=face_detector"), 404, "unknown_model"
    )
    assert document["detail"].endswith("available: connectnet, md_trisenet, rcrnet.")
    capabilities = (await service.client.get("/v1/capabilities")).json()
    assert capabilities["models"] == ["connectnet", "md_trisenet", "rcrnet"]


async def test_missing_detector_gives_no_face_ratio(tmp_path, settings_with):
    write_tiny_model(tmp_path, tiny_spec("md_trisenet"))
    async with in_process(settings_with(model_repository=tmp_path)) as service:
        answer = await service.segment(photo(200))
    assert answer.headers["x-domain"] == "no_face"
    assert "x-face-ratio" not in answer.headers
    assert (picture(answer) == expected(Domain.NO_FACE)).all()


async def test_service_is_not_ready_before_the_detector_is(four, gated):
    """A required model that takes a domain requires the detector too."""
    settings = four(engine="gated", models=("md_trisenet",))
    async with in_process(settings, ready=False) as service:
        (detector,) = (engine for engine in gated if engine.spec.name == "face_detector")
        detector.gate.clear()
        await detector.wait_for_batches(1)
        refusal(await service.client.get("/readyz"), 503, "warming_up")
        detector.gate.set()
