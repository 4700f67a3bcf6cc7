"""Routes of the Open Inference Protocol, with ONNX Runtime and with a fake Triton.

The models' alpha is the red channel, xor the prior, xor the domain.
"""

import asyncio
import json
from contextlib import closing

import numpy as np
import onnxruntime
import pytest

from silhouette_seg.api.media_types import JSON, OCTET_STREAM
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.spec import load_spec
from tests.integration.conftest import in_process, on_socket
from tests.integration.inference import IMAGE, INFER_PATH, check_idle, infer
from tests.integration.test_server import connect, receive_all
from tests.support.fake_triton import FakeTriton, serve_triton
from tests.support.malformed_tensors import MALFORMED
from tests.support.openapi import check_value, resolved
from tests.support.tensors import (
    DATATYPES,
    LENGTH_HEADER,
    binary_request,
    json_request,
    parse_error,
    parse_output,
    parse_response,
    random_inputs,
    tensor_header,
)
from tests.support.tiny_model import tiny_spec, write_tiny_model

NAMES = ("connectnet", "face_detector", "md_trisenet", "rcrnet")
MAX_BATCH = 8
ROUTES = {
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{model}",
    "/v2/models/{model}/versions/{version}",
    "/v2/models/{model}/ready",
    "/v2/models/{model}/versions/{version}/ready",
    "/v2/models/{model}/config",
    "/v2/models/{model}/versions/{version}/config",
    "/v2/models/{model}/stats",
    "/v2/models/{model}/versions/{version}/stats",
    "/v2/models/stats",
    "/v2/repository/index",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
}


@pytest.fixture(scope="module")
def four_models(tmp_path_factory):
    """Returns a repository that holds four models."""
    folder = tmp_path_factory.mktemp("four")
    for name in NAMES:
        write_tiny_model(folder, tiny_spec(name, max_batch=MAX_BATCH))
    return folder


@pytest.fixture(params=["onnx", "triton"])
async def service(request, four_models, settings_with):
    if request.param == "onnx":
        async with in_process(settings_with(model_repository=four_models, max_batch=4)) as running:
            yield running
        return
    remote = FakeTriton([load_spec(four_models / name) for name in NAMES])
    async with serve_triton(remote) as port:
        settings = settings_with(
            model_repository=four_models, engine="triton", triton_url=f"127.0.0.1:{port}"
        )
        async with in_process(settings) as running:
            yield running


@pytest.fixture
def reference(service, four_models):
    """Returns a function that runs a model without the service."""

    async def run(name, inputs):
        spec = load_spec(four_models / name)
        if service.gateway.remote is not None:
            return await FakeEngine(spec).infer(inputs)
        session = onnxruntime.InferenceSession(
            spec.model_file(four_models), providers=["CPUExecutionProvider"]
        )
        return session.run(None, inputs)[0]

    return run


@pytest.fixture
async def default_service(settings_with):
    """Starts a service that serves `connectnet` alone."""
    async with in_process(settings_with()) as running:
        yield running
        check_idle(running)


def infer_path(name):
    return f"/v2/models/{name}/infer"


async def test_server_metadata_names_version_and_extensions(service):
    metadata = (await service.client.get("/v2")).json()
    assert metadata == {
        "name": "silhouette",
        "version": service.gateway.version,
        "extensions": ["binary_tensor_data", "model_configuration", "statistics"],
    }


@pytest.mark.parametrize("name", NAMES)
async def test_model_metadata_describes_every_tensor(service, name):
    metadata = (await service.client.get(f"/v2/models/{name}")).json()
    spec = tiny_spec(name)
    assert metadata == {
        "name": name,
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {
                "name": tensor.name,
                "datatype": DATATYPES[tensor.dtype],
                "shape": [-1, 1] if tensor.name == "domain" else list(tensor.shape),
            }
            for tensor in spec.inputs
        ],
        "outputs": [
            {
                "name": spec.output.name,
                "datatype": DATATYPES[spec.output.dtype],
                "shape": list(spec.output.shape),
            }
        ],
    }
    assert (await service.client.get(f"/v2/models/{name}/versions/1")).json() == metadata


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("health/live", {"live": True}),
        ("health/ready", {"ready": True}),
        ("models/rcrnet/ready", {"name": "rcrnet", "ready": True}),
        ("models/rcrnet/versions/1/ready", {"name": "rcrnet", "ready": True}),
    ],
)
async def test_health_answers_have_the_protocol_body(service, path, body):
    answer = await service.client.get(f"/v2/{path}")
    assert (answer.status_code, answer.json()) == (200, body)


@pytest.mark.parametrize(
    "model",
    ["models/unknown", "models/auto", "models/rcrnet/versions/2", "models/rcrnet/versions/x"],
)
async def test_unknown_model_is_a_404(default_service, model):
    for answer in (
        await default_service.client.get(f"/v2/{model}"),
        await default_service.client.get(f"/v2/{model}/ready"),
        await infer(default_service, path=f"/v2/{model}/infer"),
    ):
        parse_error(answer, 404)


async def test_unknown_version_is_a_404_with_alternatives(default_service):
    answer = await default_service.client.get("/v2/models/connectnet/versions/2")
    assert parse_error(answer, 404) == "Unknown model 'connectnet/2'; available: connectnet/1."


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 3, MAX_BATCH])
async def test_output_equals_that_of_the_engine(service, reference, name, rows):
    inputs = random_inputs(tiny_spec(name), rows, seed=rows)
    expected = await reference(name, inputs)
    body, headers = binary_request(inputs, parameters={"binary_data_output": True})
    answers = [
        await service.client.post(infer_path(name), content=body, headers=headers),
        await infer(service, json_request(inputs), infer_path(name)),
        await infer(service, json_request(inputs, nested=True), infer_path(name)),
        await infer(service, json_request(inputs), f"/v2/models/{name}/versions/1/infer"),
    ]
    for answer in answers:
        assert parse_output(answer).dtype == expected.dtype
        np.testing.assert_array_equal(parse_output(answer), expected)
    assert [LENGTH_HEADER in answer.headers for answer in answers] == [
        True,
        False,
        False,
        False,
    ]
    check_idle(service)


async def test_concurrent_requests_get_their_own_rows(service, reference):
    requests = [random_inputs(tiny_spec("md_trisenet"), 1 + seed % 4, seed) for seed in range(24)]
    bodies = [json_request(inputs, id=str(seed)) for seed, inputs in enumerate(requests)]
    answers = await asyncio.gather(
        *(infer(service, body, infer_path("md_trisenet")) for body in bodies)
    )
    for seed, (inputs, answer) in enumerate(zip(requests, answers, strict=True)):
        assert parse_response(answer)["id"] == str(seed)
        np.testing.assert_array_equal(parse_output(answer), await reference("md_trisenet", inputs))


async def test_response_names_id_model_and_output(default_service):
    answer = parse_response(await infer(default_service, json_request(IMAGE, id='a "b" ü')))
    (output,) = answer.pop("outputs")
    assert answer == {"id": 'a "b" ü', "model_name": "connectnet", "model_version": "1"}
    data = output.pop("data")
    assert output == tensor_header("alpha", data)
    assert "id" not in parse_response(await infer(default_service))


@pytest.mark.parametrize("binary", [False, True])
async def test_output_is_binary_on_request(default_service, binary):
    outputs = [{"name": "alpha", "parameters": {"binary_data": binary}}]
    answer = await infer(default_service, json_request(IMAGE, outputs=outputs))
    np.testing.assert_array_equal(parse_output(answer), IMAGE["image"][..., 0])
    assert (LENGTH_HEADER in answer.headers) is binary


async def test_body_without_json_is_one_row(default_service):
    answer = await infer(
        default_service, IMAGE["image"].tobytes(), inference_header_content_length="0"
    )
    np.testing.assert_array_equal(parse_output(answer), IMAGE["image"][..., 0])
    assert LENGTH_HEADER in answer.headers


@pytest.mark.parametrize(
    "media_type", ["application/json", "application/octet-stream", "text/plain", ""]
)
async def test_media_type_of_the_body_is_ignored(default_service, media_type):
    """Clients send none, or the default of their HTTP library."""
    parse_output(await infer(default_service, content_type=media_type))


async def test_server_timing_lists_the_stages(default_service):
    timing = (await infer(default_service)).headers["server-timing"]
    assert [entry.partition(";")[0] for entry in timing.split(", ")] == [
        "decode",
        "queue",
        "infer",
        "encode",
    ]


async def test_request_id_header_is_returned(default_service):
    answer = await infer(default_service, json_request(IMAGE, id="mine"), x_request_id="order-66")
    assert answer.headers["x-request-id"] == "order-66"


async def test_metrics_name_the_route_without_the_model(default_service):
    await infer(default_service)
    await infer(default_service, path=infer_path("made-up"))
    metrics = (await default_service.client.get("/metrics")).text
    route = 'route="/v2/models/{model}/infer"'
    assert f'silhouette_requests_total{{code="ok",{route},status="200"}} 1.0' in metrics
    assert f'{{code="unknown_model",{route},status="404"}} 1.0' in metrics
    assert "made-up" not in metrics


async def test_malformed_request_is_a_400_with_reason(default_service):
    for name, (body, message) in MALFORMED.items():
        assert message in parse_error(await infer(default_service, body), 400), name
        check_idle(default_service)
    parse_output(await infer(default_service))


@pytest.mark.parametrize(
    ("body", "length", "message"),
    [
        (json_request(IMAGE), "-1", "not a number"),
        (json_request(IMAGE), "9" * 5000, "not a number"),
        (json_request(IMAGE), "999999", "shorter than"),
        (binary_request(IMAGE)[0], None, "need Inference-Header-Content-Length"),
    ],
    ids=["no number", "many digits", "long", "missing"],
)
async def test_wrong_header_length_is_a_400_with_reason(default_service, body, length, message):
    headers = {} if length is None else {"inference_header_content_length": length}
    assert message in parse_error(await infer(default_service, body, **headers), 400)
    check_idle(default_service)


async def test_request_with_many_rows_is_a_400_with_limit(default_service):
    body = json_request(random_inputs(tiny_spec(), MAX_BATCH + 1))
    error = parse_error(await infer(default_service, body), 400)
    assert f"(limit {MAX_BATCH}, got {MAX_BATCH + 1})" in error


async def test_body_of_unknown_encoding_is_a_415(default_service):
    answer = await infer(default_service, content_encoding="br")
    assert "Content-Encoding" in parse_error(answer, 415)


@pytest.mark.parametrize("path", ["/v2/", "/v2/models", "/v2/nothing", INFER_PATH + "/more"])
async def test_unknown_path_has_the_protocol_error_shape(default_service, path):
    parse_error(await default_service.client.get(path), 404)


async def test_wrong_method_has_the_protocol_error_shape(default_service):
    answer = await default_service.client.get(INFER_PATH)
    parse_error(answer, 405)
    assert answer.headers["allow"] == "OPTIONS, POST"


async def test_paths_outside_v2_have_problem_documents(default_service):
    for path in ("/v2x", "/v1", "/"):
        answer = await default_service.client.post(path)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_large_body_is_a_413_with_limit(settings_with):
    limit = len(json_request(IMAGE))
    async with in_process(settings_with(max_body_bytes=limit)) as service:
        parse_output(await infer(service))
        error = parse_error(await infer(service, json_request(IMAGE) + b" "), 413)
        assert f"(limit {limit}, got {limit + 1})" in error
        check_idle(service)


async def test_slow_body_is_a_408_with_limit(settings_with):
    with (
        on_socket(settings_with(read_timeout_s=0.2)) as service,
        closing(connect(service)) as connection,
    ):
        connection.sendall(
            f"POST {INFER_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode()
        )
        answer = await asyncio.to_thread(receive_all, connection)
    assert answer.startswith("HTTP/1.1 408")
    assert answer.endswith('{"error": "The body did not arrive in time (limit 0.2)."}')


async def test_cors_exposes_the_header_length(settings_with):
    origin = "https://shop.example"
    async with in_process(settings_with(cors_origins=origin)) as service:
        answer = await infer(service, origin=origin)
        assert LENGTH_HEADER in answer.headers["access-control-expose-headers"].split(", ")


async def test_openapi_describes_every_route(default_service):
    document = (await default_service.client.get("/openapi.json")).json()
    paths = {path: item for path, item in document["paths"].items() if path.startswith("/v2")}
    assert paths.keys() == ROUTES
    for path, item in paths.items():
        (operation,) = item.values()
        named = {item["name"] for item in operation.get("parameters", ()) if item["in"] == "path"}
        assert named == {name for name in ("model", "version") if f"{{{name}}}" in path}
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                schema = answer["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/InferenceError"}
    operation = paths["/v2/models/{model}/infer"]["post"]
    response, media_types = operation["responses"]["200"], {JSON, OCTET_STREAM}
    assert operation["requestBody"]["content"].keys() == media_types
    assert response["content"].keys() == media_types
    assert LENGTH_HEADER in {item["name"] for item in operation["parameters"]}
    assert LENGTH_HEADER in response["headers"]


async def test_openapi_schemas_fit_real_messages(default_service):
    document = (await default_service.client.get("/openapi.json")).json()
    operation = document["paths"]["/v2/models/{model}/infer"]["post"]
    request = json.loads(json_request(IMAGE, id="x", outputs=[{"name": "alpha"}]))
    answer = (await infer(default_service, json_request(IMAGE, id="x"))).json()
    for value, described in (
        (request, operation["requestBody"]),
        (answer, operation["responses"]["200"]),
    ):
        schema = described["content"][JSON]["schema"]
        check_value(document, schema, value)
        assert value.keys() <= resolved(document, schema)["properties"].keys()
