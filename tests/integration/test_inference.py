"""`/v2`: tensors for every model that is served, whoever runs it.

The models' alpha is red, xor the prior, xor the domain.
"""

import asyncio
import json
from contextlib import closing

import numpy as np
import onnxruntime
import pytest

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.errors import EngineFailed
from silhouette_seg.lifecycle import drain
from silhouette_seg.spec import load_spec
from tests.integration.conftest import PATIENCE_S, in_process, on_socket, until
from tests.integration.disconnecting_client import post_and_disconnect
from tests.integration.test_server import connect, receive_all
from tests.support.fake_triton import FakeTriton, serve_triton
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
IMAGE = random_inputs(tiny_spec(), 1)
PATH = "/v2/models/connectnet/infer"
ROUTES = {
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{model}",
    "/v2/models/{model}/versions/{version}",
    "/v2/models/{model}/ready",
    "/v2/models/{model}/versions/{version}/ready",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
}


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """A repository that holds all four."""
    folder = tmp_path_factory.mktemp("four")
    for name in NAMES:
        write_tiny_model(folder, tiny_spec(name, max_batch=MAX_BATCH))
    return folder


@pytest.fixture(params=["onnx", "triton"])
async def service(request, four, settings_with):
    if request.param == "onnx":
        async with in_process(settings_with(model_repository=four, max_batch=4)) as running:
            yield running
        return
    remote = FakeTriton([load_spec(four / name) for name in NAMES])
    async with serve_triton(remote) as port:
        settings = settings_with(
            model_repository=four, engine="triton", triton_url=f"127.0.0.1:{port}"
        )
        async with in_process(settings) as running:
            yield running


@pytest.fixture
def own(service, four):
    """What the engine at the end of the line gives, asked without any of ours in between."""

    async def ask(name, inputs):
        spec = load_spec(four / name)
        if service.gateway.remote is not None:
            return await FakeEngine(spec).infer(inputs)
        session = onnxruntime.InferenceSession(
            spec.model_file(four), providers=["CPUExecutionProvider"]
        )
        return session.run(None, inputs)[0]

    return ask


@pytest.fixture
async def alone(settings_with):
    async with in_process(settings_with()) as running:
        yield running
        nothing_is_left(running)


def nothing_is_left(service):
    assert service.gateway.requests.count == 0
    assert service.gateway.photo_queue.running_pixels == 0
    assert service.gateway.body_memory.reserved == 0


async def post(service, body=None, path=PATH, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json_request(IMAGE) if body is None else body
    return await service.client.post(path, content=body, headers=named)


def of(name):
    return f"/v2/models/{name}/infer"


class TestMetadata:
    async def test_of_the_server(self, service):
        told = (await service.client.get("/v2")).json()
        version = service.gateway.version
        assert told == {
            "name": "silhouette",
            "version": version,
            "extensions": ["binary_tensor_data"],
        }

    @pytest.mark.parametrize("name", NAMES)
    async def test_of_a_model(self, service, name):
        told = (await service.client.get(f"/v2/models/{name}")).json()
        spec = tiny_spec(name)
        assert told == {
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
        assert (await service.client.get(f"/v2/models/{name}/versions/1")).json() == told

    @pytest.mark.parametrize(
        "path",
        ["health/live", "health/ready", "models/rcrnet/ready", "models/rcrnet/versions/1/ready"],
    )
    async def test_ready_has_no_body(self, service, path):
        answer = await service.client.get(f"/v2/{path}")
        assert (answer.status_code, answer.content) == (200, b"")

    @pytest.mark.parametrize(
        "model",
        ["models/nobody", "models/auto", "models/rcrnet/versions/2", "models/rcrnet/versions/x"],
    )
    async def test_what_is_not_served_is_a_404(self, alone, model):
        for answer in (
            await alone.client.get(f"/v2/{model}"),
            await alone.client.get(f"/v2/{model}/ready"),
            await post(alone, path=f"/v2/{model}/infer"),
        ):
            parse_error(answer, 404)

    async def test_another_version_says_which_there_is(self, alone):
        answer = await alone.client.get("/v2/models/connectnet/versions/2")
        assert parse_error(answer, 404) == "Unknown model 'connectnet/2'; available: connectnet/1."


class TestInference:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("rows", [1, 3, MAX_BATCH])
    async def test_answers_are_the_engines_own(self, service, own, name, rows):
        inputs = random_inputs(tiny_spec(name), rows, seed=rows)
        expected = await own(name, inputs)
        body, headers = binary_request(inputs, parameters={"binary_data_output": True})
        answers = [
            await service.client.post(of(name), content=body, headers=headers),
            await post(service, json_request(inputs), of(name)),
            await post(service, json_request(inputs, nested=True), of(name)),
            await post(service, json_request(inputs), f"/v2/models/{name}/versions/1/infer"),
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
        nothing_is_left(service)

    async def test_many_callers_get_their_own_rows_in_order(self, service, own):
        asked = [random_inputs(tiny_spec("md_trisenet"), 1 + seed % 4, seed) for seed in range(24)]
        bodies = [json_request(inputs, id=str(seed)) for seed, inputs in enumerate(asked)]
        answers = await asyncio.gather(*(post(service, body, of("md_trisenet")) for body in bodies))
        for seed, (inputs, answer) in enumerate(zip(asked, answers, strict=True)):
            assert parse_response(answer)["id"] == str(seed)
            np.testing.assert_array_equal(parse_output(answer), await own("md_trisenet", inputs))

    async def test_the_answer_names_what_it_is(self, alone):
        answer = parse_response(await post(alone, json_request(IMAGE, id='a "b" ü')))
        (output,) = answer.pop("outputs")
        assert answer == {"id": 'a "b" ü', "model_name": "connectnet", "model_version": "1"}
        data = output.pop("data")
        assert output == tensor_header("alpha", data)
        assert "id" not in parse_response(await post(alone))

    @pytest.mark.parametrize("binary", [False, True])
    async def test_output_goes_as_it_is_asked_for(self, alone, binary):
        wanted = [{"name": "alpha", "parameters": {"binary_data": binary}}]
        answer = await post(alone, json_request(IMAGE, outputs=wanted))
        np.testing.assert_array_equal(parse_output(answer), IMAGE["image"][..., 0])
        assert (LENGTH_HEADER in answer.headers) is binary

    async def test_one_row_without_json(self, alone):
        answer = await post(alone, IMAGE["image"].tobytes(), inference_header_content_length="0")
        np.testing.assert_array_equal(parse_output(answer), IMAGE["image"][..., 0])
        assert LENGTH_HEADER in answer.headers

    @pytest.mark.parametrize(
        "media_type", ["application/json", "application/octet-stream", "text/plain", ""]
    )
    async def test_the_type_of_the_body_does_not_matter(self, alone, media_type):
        """Clients send none, or what their libraries make up."""
        parse_output(await post(alone, content_type=media_type))

    async def test_times_are_told(self, alone):
        timing = (await post(alone)).headers["server-timing"]
        assert [each.partition(";")[0] for each in timing.split(", ")] == [
            "decode",
            "queue",
            "infer",
            "encode",
        ]

    async def test_request_id_is_taken_over(self, alone):
        answer = await post(alone, json_request(IMAGE, id="mine"), x_request_id="order-66")
        assert answer.headers["x-request-id"] == "order-66"

    async def test_metrics_tell_the_route_and_not_the_model(self, alone):
        await post(alone)
        await post(alone, path=of("made-up"))
        metrics = (await alone.client.get("/metrics")).text
        route = 'route="/v2/models/{model}/infer"'
        assert f'silhouette_requests_total{{code="ok",{route},status="200"}} 1.0' in metrics
        assert f'{{code="unknown_model",{route},status="404"}} 1.0' in metrics
        assert "made-up" not in metrics


def changed(**more):
    document = json.loads(json_request(IMAGE))
    document["inputs"][0] |= more
    return json.dumps(document).encode()


REFUSED = {
    "no json": (b"{", {}, "cannot be parsed"),
    "nothing": (b"", {}, "cannot be parsed"),
    "no inputs": (b"{}", {}, "image is missing"),
    "unknown input": (changed(name="prior"), {}, 'connectnet has no "prior"'),
    "datatype": (changed(datatype="FP32"), {}, 'datatype is "FP32", not UINT8'),
    "shape": (changed(shape=[1, 3, 24, 32]), {}, "not [-1, 24, 32, 3]"),
    "count": (changed(data=[0]), {}, "has 1 numbers; the shape [1, 24, 32, 3] needs 2304"),
    "range": (changed(data=[256] * 2304), {}, "not uint8"),
    "fraction": (changed(data=[0.5] * 2304), {}, "not uint8"),
    "not finite": (changed(data=[float("nan")] * 2304), {}, "not a number"),
    "rows": (
        json_request(random_inputs(tiny_spec(), MAX_BATCH + 1)),
        {},
        f"at most {MAX_BATCH} rows in a request (limit {MAX_BATCH}, got {MAX_BATCH + 1}).",
    ),
    "header length no number": (
        json_request(IMAGE),
        {"inference_header_content_length": "-1"},
        "not a number",
    ),
    "header length too long": (
        json_request(IMAGE),
        {"inference_header_content_length": "999999"},
        "shorter than",
    ),
    "header length of more digits than a number has": (
        json_request(IMAGE),
        {"inference_header_content_length": "9" * 5000},
        "not a number",
    ),
    "no header length": (binary_request(IMAGE)[0], {}, "need Inference-Header-Content-Length"),
}


@pytest.mark.parametrize(("body", "headers", "told"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_meant_is_a_400_that_says_why(alone, body, headers, told):
    assert told in parse_error(await post(alone, body, **headers), 400)
    nothing_is_left(alone)
    parse_output(await post(alone))


async def test_a_compressed_body_is_refused(alone):
    answer = await post(alone, content_encoding="gzip")
    assert "Content-Encoding" in parse_error(answer, 415)


@pytest.mark.parametrize("path", ["/v2/", "/v2/models", "/v2/nothing", PATH + "/more"])
async def test_what_is_not_there_is_refused_in_the_shape_of_the_protocol(alone, path):
    parse_error(await alone.client.get(path), 404)


async def test_a_wrong_method_is_refused_in_the_shape_of_the_protocol(alone):
    answer = await alone.client.get(PATH)
    parse_error(answer, 405)
    assert answer.headers["allow"] == "OPTIONS, POST"


async def test_other_paths_keep_their_shape(alone):
    for path in ("/v2x", "/v1", "/"):
        answer = await alone.client.post(path)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_that_is_too_long_is_a_413(settings_with):
    limit = len(json_request(IMAGE))
    async with in_process(settings_with(max_body_bytes=limit)) as service:
        parse_output(await post(service))
        told = parse_error(await post(service, json_request(IMAGE) + b" "), 413)
        assert f"(limit {limit}, got {limit + 1})" in told
        nothing_is_left(service)


async def test_a_body_that_is_too_slow_is_a_408(settings_with):
    with (
        on_socket(settings_with(read_timeout_s=0.2)) as service,
        closing(connect(service)) as connection,
    ):
        connection.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode()
        )
        answer = await asyncio.to_thread(receive_all, connection)
    assert answer.startswith("HTTP/1.1 408")
    assert answer.endswith('{"error": "The body did not arrive in time (limit 0.2)."}')


class TestKeys:
    @pytest.fixture
    async def keyed(self, settings_with):
        async with in_process(settings_with(api_keys="sesame")) as running:
            yield running

    @pytest.mark.parametrize(
        "path", ["/v2", "/v2/models/connectnet", "/v2/models/connectnet/ready"]
    )
    async def test_are_asked_for(self, keyed, path):
        answer = await keyed.client.get(path)
        parse_error(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await keyed.client.get(path, headers={"X-Api-Key": "sesame"})).status_code == 200

    async def test_are_asked_for_before_the_body(self, keyed):
        parse_error(await post(keyed, b"{"), 401)
        parse_output(await post(keyed, authorization="Bearer sesame"))

    @pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
    async def test_are_not_asked_for_by_probes(self, keyed, path):
        assert (await keyed.client.get(path)).status_code == 200


async def test_pages_of_other_origins_may_read_where_the_json_ends(settings_with):
    origin = "https://shop.example"
    async with in_process(settings_with(cors_origins=origin)) as service:
        answer = await post(service, origin=origin)
        assert LENGTH_HEADER in answer.headers["access-control-expose-headers"].split(", ")


async def test_nothing_is_ready_while_warming_up(settings_with, gated):
    async with in_process(settings_with(engine="gated"), ready=False) as service:
        gated[0].gate.clear()
        for path in ("/v2/health/ready", "/v2/models/connectnet/ready"):
            parse_error(await service.client.get(path), 503)
        assert (await service.client.get("/v2/health/live")).status_code == 200
        assert (await service.client.get("/v2/models/connectnet")).status_code == 200
        early = await post(service)
        assert "warming up" in parse_error(early, 503)
        assert early.headers["retry-after"] == "1"
        gated[0].gate.set()
        await until(lambda: service.gateway.registry.ready)
        parse_output(await post(service))


async def test_nothing_is_ready_while_triton_is_gone(four, settings_with):
    remote = FakeTriton([load_spec(four / name) for name in NAMES])
    async with serve_triton(remote) as port:
        settings = settings_with(
            model_repository=four, engine="triton", triton_url=f"127.0.0.1:{port}"
        )
        running = in_process(settings)
        service = await running.__aenter__()
    try:
        parse_error(await service.client.get("/v2/health/ready"), 503)
        parse_error(await service.client.get("/v2/models/rcrnet/ready"), 503)
        gone = await post(service)
        parse_error(gone, 503)
        assert gone.headers["retry-after"] == "1"
    finally:
        await running.__aexit__(None, None, None)


class TestUnderLoad:
    @pytest.fixture
    async def held(self, settings_with, gated):
        """One place in the engine, which is shut, and one to wait for a turn."""
        settings = settings_with(engine="gated", workers=1, queue_size=1, photos_at_once=1)
        async with in_process(settings) as service:
            gated[0].gate.clear()
            gated[0].batch_sizes.clear()
            yield service
            gated[0].gate.set()
            await until(lambda: service.gateway.requests.count == 0)
            nothing_is_left(service)

    async def test_rows_of_a_request_run_together(self, held, gated):
        inputs = random_inputs(tiny_spec(), 5)
        running = asyncio.create_task(post(held, json_request(inputs)))
        await gated[0].wait_for_batches(1)
        assert gated[0].batch_sizes == [5]
        assert held.gateway.photo_queue.running_pixels == 5 * 24 * 32
        gated[0].gate.set()
        np.testing.assert_array_equal(parse_output(await running), inputs["image"][..., 0])

    async def test_a_full_queue_refuses_at_once(self, held, gated):
        running, waiting = [asyncio.create_task(post(held)) for _ in range(2)]
        await until(lambda: held.gateway.photo_queue.queued == 1)

        refused = await post(held)

        assert "Too many photos are waiting (limit 1, got 2)." in parse_error(refused, 503)
        assert refused.headers["retry-after"] == "1"
        gated[0].gate.set()
        parse_output(await running)
        parse_output(await waiting)

    async def test_rows_wait_for_room_as_photos_do(self, settings_with, gated):
        """Two rows, while one is in work."""
        settings = settings_with(engine="gated", max_pixels_in_flight=2 * 24 * 32)
        async with in_process(settings) as service:
            gated[0].gate.clear()
            first = asyncio.create_task(post(service))
            await until(lambda: service.gateway.photo_queue.running == 1)
            inputs = random_inputs(tiny_spec(), 2)
            second = asyncio.create_task(post(service, json_request(inputs)))
            await until(lambda: service.gateway.photo_queue.queued == 1)
            assert service.gateway.photo_queue.running == 1
            gated[0].gate.set()
            parse_output(await first)
            np.testing.assert_array_equal(parse_output(await second), inputs["image"][..., 0])

    async def test_the_deadline_cancels_the_work(self, settings_with, gated):
        async with in_process(settings_with(engine="gated", request_timeout_s=0.2)) as service:
            gated[0].gate.clear()
            assert "(limit 0." in parse_error(await post(service), 504)
            await until(lambda: gated[0].running == 0)
            nothing_is_left(service)

    async def test_a_client_that_leaves_takes_its_work_along(self, held, gated):
        leave = asyncio.Event()
        posted = post_and_disconnect(held, leave, PATH, json_request(IMAGE), "application/json")
        request = asyncio.create_task(posted)
        await gated[0].wait_for_batches(1)
        leave.set()
        assert (await request)[0]["status"] == 499
        await until(lambda: gated[0].running == 0)
        nothing_is_left(held)

    async def test_an_engine_that_fails_tells_nothing_of_itself(self, held, gated):
        gated[0].fail_next(EngineFailed("The inference engine failed"))
        gated[0].gate.set()
        answer = await post(held)
        assert parse_error(answer, 503) == "The inference engine failed"
        assert answer.headers["retry-after"] == "1"
        parse_output(await post(held))

    async def test_what_nobody_foresaw_is_an_opaque_500(self, held, gated, caplog):
        gated[0].fail_next(RuntimeError("weights of straw"))
        gated[0].gate.set()
        assert "straw" not in parse_error(await post(held), 500)
        assert "weights of straw" in caplog.text

    async def test_draining_refuses_what_is_new_and_finishes_what_runs(self, held, gated):
        running = asyncio.create_task(post(held))
        await gated[0].wait_for_batches(1)
        draining = asyncio.create_task(drain(held.gateway, PATIENCE_S))
        await asyncio.sleep(0)
        parse_error(await held.client.get("/v2/health/ready"), 503)
        assert "shutting down" in parse_error(await post(held), 503)
        gated[0].gate.set()
        parse_output(await running)
        await draining


def queued(service):
    return service.gateway.telemetry.registry.get_sample_value(
        "silhouette_queue_depth", {"model": "connectnet"}
    )


async def test_openapi_describes_the_routes(alone):
    document = (await alone.client.get("/openapi.json")).json()
    paths = {path: item for path, item in document["paths"].items() if path.startswith("/v2")}
    assert paths.keys() == ROUTES
    for path, item in paths.items():
        (operation,) = item.values()
        named = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert named == {name for name in ("model", "version") if f"{{{name}}}" in path}
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                schema = answer["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/InferenceError"}
    infer = paths["/v2/models/{model}/infer"]["post"]
    assert infer["requestBody"]["content"].keys() == {
        "application/json",
        "application/octet-stream",
    }
    assert infer["responses"]["200"]["content"].keys() == infer["requestBody"]["content"].keys()
    assert LENGTH_HEADER in {each["name"] for each in infer["parameters"]}
    assert LENGTH_HEADER in infer["responses"]["200"]["headers"]


async def test_openapi_takes_what_the_routes_take_and_give(alone):
    """On documents that are really sent."""
    document = (await alone.client.get("/openapi.json")).json()
    infer = document["paths"]["/v2/models/{model}/infer"]["post"]
    request = json.loads(json_request(IMAGE, id="x", outputs=[{"name": "alpha"}]))
    answer = (await post(alone, json_request(IMAGE, id="x"))).json()
    for sent, described_by in (
        (request, infer["requestBody"]["content"]["application/json"]["schema"]),
        (answer, infer["responses"]["200"]["content"]["application/json"]["schema"]),
    ):
        fits(sent, described_by)


def fits(value, schema):
    """Asserts the little of JSON schema that these use: types, names, members."""
    types = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    if "type" not in schema:
        return
    assert isinstance(value, types[schema["type"]])
    assert value in schema.get("enum", [value])
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= value.keys() <= schema["properties"].keys()
        for name, each in value.items():
            fits(each, schema["properties"][name])
    if isinstance(value, list):
        for each in value:
            fits(each, schema["items"])
