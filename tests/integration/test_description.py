"""Self-description of the service: OpenAPI, models, capabilities and the page."""

import re

import pytest

from silhouette_seg.api.openapi import error_classes
from silhouette_seg.api.request.parameters import PARAMETERS
from silhouette_seg.errors import InternalError
from tests.integration.conftest import in_process
from tests.integration.pictures import refusal
from tests.support.images import make_jpeg

BINARY = {"type": "string", "format": "binary"}


@pytest.fixture
async def operation(service):
    document = (await service.client.get("/openapi.json")).json()
    return document["paths"]["/v1/segment"]["post"]


async def test_openapi_describes_binary_requests_and_responses(operation):
    body = operation["requestBody"]["content"]
    assert {media_type for media_type in body if body[media_type]["schema"] == BINARY} == {
        "image/jpeg",
        "image/png",
        "image/webp",
        "image/avif",
    }
    for kind in ("multipart/form-data", "application/json"):
        schema = body[kind]["schema"]
        assert schema["required"] == ["image"]
        assert schema["properties"].keys() == PARAMETERS.keys() | {"image", "background_image"}
    answer = operation["responses"]["200"]["content"]
    images = {"image/png", "image/webp", "image/jpeg", "image/avif"}
    assert answer.keys() == images | {"application/json"}
    assert answer["image/png"]["schema"] == BINARY
    assert answer["application/json"]["schema"] == {"$ref": "#/components/schemas/Report"}


async def test_openapi_describes_every_parameter(operation):
    assert {parameter["name"] for parameter in operation["parameters"]} == PARAMETERS.keys()


async def test_openapi_describes_every_error_code(service):
    document = (await service.client.get("/openapi.json")).json()
    described: dict[int, set[str]] = {}
    for path, item in document["paths"].items():
        if path.startswith(("/v1.0", "/v2")):
            continue  # these have the error shapes of their own APIs
        for operation in item.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert answer["content"].keys() == {"application/problem+json"}
                    described.setdefault(int(status), set()).add(answer["description"])
    for cls in error_classes():
        if cls.status != 405:
            assert any(f"`{cls.code}`" in text for text in described[cls.status]), cls.code


async def test_openapi_defines_every_referenced_schema(service):
    text = (await service.client.get("/openapi.json")).text
    document = (await service.client.get("/openapi.json")).json()
    referenced = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert referenced <= document["components"]["schemas"].keys()
    assert "HTTPValidationError" not in text


async def test_docs_page_shows_swagger_ui(service):
    answer = await service.client.get("/docs")
    assert answer.status_code == 200
    assert "swagger" in answer.text


async def test_models_lists_the_served_model(service):
    document = (await service.client.get("/v1/models")).json()
    assert document["auto"] == "connectnet"
    (model,) = document["models"]
    spec = service.gateway.registry.get().spec
    assert model["digest"] == f"sha256:{spec.sha256}"
    assert (model["height"], model["width"]) == spec.size_hw
    assert (model["task"], model["inputs"]) == ("segmentation", ["image"])
    assert model["provider"] == "CPUExecutionProvider"
    assert model["ready"] is True


async def test_capabilities_reflect_the_settings(settings_with):
    async with in_process(settings_with(max_side=200, max_body_bytes=123_456)) as service:
        document = (await service.client.get("/v1/capabilities")).json()
        assert document["limits"]["side"] == 200
        assert document["limits"]["image_bytes"] == 123_456
        assert document["models"] == ["connectnet"]
        read = ["jpeg", "png", "webp", "heic", "avif", "tiff", "bmp", "gif"]
        assert document["formats"] == {"input": read, "output": ["jpeg", "png", "webp", "avif"]}
        assert document["parameters"].keys() == PARAMETERS.keys()
        refusal(await service.segment(make_jpeg()), 422, "side_too_long")


async def test_page_links_only_to_served_files(service):
    page = await service.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    links = re.findall(r'(?:src|href)="(web/[^"]+)"', page.text)
    assert links
    for link in links:
        answer = await service.client.get(f"/{link}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_error_codes_are_unique_with_documented_statuses():
    codes = [cls.code for cls in error_classes() if cls is not InternalError]
    assert len(codes) == len(set(codes))
    assert {cls.status for cls in error_classes()} == {
        400, 401, 404, 405, 406, 408, 413, 415, 422, 429, 500, 501, 503, 504,
    }  # fmt: skip
