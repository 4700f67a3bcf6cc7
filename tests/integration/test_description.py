"""Self-description of the service: OpenAPI, models, capabilities and the page."""

import re
from typing import Any

import pytest

from silhouette_seg.api.media_types import FORM_DATA, JSON, MULTIPART_MIXED, OCTET_STREAM
from silhouette_seg.api.openapi import error_classes
from silhouette_seg.api.request.parameters import PARAMETERS
from silhouette_seg.errors import InternalError
from tests.integration.conftest import in_process
from tests.integration.pictures import refusal
from tests.support.images import make_jpeg
from tests.support.openapi import check_value, operations, resolved

BINARY = {"type": "string", "format": "binary"}
IMAGES = {"image/png", "image/webp", "image/jpeg", "image/avif"}
WITHOUT_EXAMPLE = [
    {"$ref": f"#/components/schemas/{name}"}
    for name in ("InferenceError", "RemoveBgErrors", "InferRequest", "InferResponse")
]
"""Schemas of errors, and of tensors, which have the size of a model."""


@pytest.fixture
async def document(service) -> dict[str, Any]:
    return (await service.client.get("/openapi.json")).json()


@pytest.mark.parametrize(
    ("path", "body", "result"),
    [
        ("/v1/segment", {FORM_DATA}, IMAGES),
        ("/v1/segment/binary", {OCTET_STREAM, "image/*"}, IMAGES),
        ("/v1/segment/json", {JSON}, {JSON}),
        ("/v1/segment/report", {FORM_DATA}, {JSON}),
        ("/v1/segment/batch", {FORM_DATA}, {MULTIPART_MIXED}),
    ],
)
async def test_photo_operation_has_one_kind_of_body_and_result(document, path, body, result):
    operation = document["paths"][path]["post"]
    assert operation["requestBody"]["content"].keys() == body
    answer = operation["responses"]["200"]["content"]
    assert answer.keys() == result
    if result == {JSON}:
        assert answer[JSON]["schema"] == {"$ref": "#/components/schemas/Report"}
    else:
        assert [content["schema"] for content in answer.values()] == [BINARY] * len(result)


async def test_openapi_declares_each_parameter_once(document):
    for path, operation in operations(document):
        names = [parameter["name"] for parameter in operation.get("parameters", ())]
        bodies = operation.get("requestBody", {"content": {}})["content"].values()
        for schema in [resolved(document, body["schema"]) for body in bodies] or [{}]:
            declared = names + list(schema.get("properties", ()))
            assert len(declared) == len(set(declared)), path


@pytest.mark.parametrize("path", ["/v1/segment", "/v1/segment/json", "/v1/segment/batch"])
async def test_openapi_body_has_the_schema_of_every_parameter(document, path):
    (content,) = document["paths"][path]["post"]["requestBody"]["content"].values()
    schema = resolved(document, content["schema"])
    assert schema["required"] == ["image"]
    assert schema["properties"].keys() == PARAMETERS.keys() | {"image", "background_image"}
    for name, parameter in PARAMETERS.items():
        described = {"description": parameter.description}
        assert schema["properties"][name] == parameter.schema | described


async def test_openapi_query_has_the_schema_of_every_parameter(document):
    parameters = document["paths"]["/v1/segment/binary"]["post"]["parameters"]
    assert {parameter["name"]: parameter["schema"] for parameter in parameters} == {
        name: parameter.schema for name, parameter in PARAMETERS.items()
    }


async def test_openapi_operation_has_prose_and_examples(document):
    for path, operation in operations(document):
        text, _, command = operation["description"].partition("\n\n```sh\n")
        assert text.endswith("."), path
        assert command.startswith("curl "), path
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (body.get("content", {}).get(JSON) for body in bodies):
            if content:
                assert "example" in content or content["schema"] in WITHOUT_EXAMPLE, path


async def test_openapi_examples_conform_to_their_schemas(document):
    checked = 0
    for _, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        contents = [content for body in bodies for content in body.get("content", {}).values()]
        for content in contents:
            if "example" in content:
                check_value(document, content["schema"], content["example"])
                checked += 1
    assert checked >= 20
    problem = {"$ref": "#/components/schemas/Problem"}
    for name, example in document["components"]["examples"].items():
        check_value(document, problem, example["value"])
        assert example["value"]["code"] == name


async def test_openapi_operation_ids_are_unique_identifiers(document):
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert all(id.isidentifier() for id in ids)


@pytest.mark.parametrize(("keys", "described"), [((), False), (("sesame",), True)])
async def test_openapi_requires_a_key_only_if_the_service_does(settings_with, keys, described):
    async with in_process(settings_with(api_keys=keys)) as service:
        document = (await service.client.get("/openapi.json")).json()
        assert ("security" in document["paths"]["/v1/segment"]["post"]) is described
        assert ("securitySchemes" in document["components"]) is described


async def test_openapi_describes_every_error_code(document):
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
