"""Triton's own HTTP client, before a gateway or before Triton: it cannot tell which.

Where they differ, Triton 2.51 takes compressed bodies, shared memory, classification and an output
that is named twice. It says 400 where an unknown model is asked whether it is ready, the gateway
404; 500 for what is wrong with the JSON, the gateway 400; and nothing where a number is over 255.
An output that is named without `binary_data` it sends as JSON even with `binary_data_output`, which
its documentation and the gateway have otherwise.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from silhouette_seg.spec import ModelSpec, load_spec
from tests.support.published import REPOSITORY
from tests.support.tensors import DATATYPES, random_inputs, tensor_header, to_wire
from tests.triton.gateway import PATIENCE_S, run_gateway
from tests.triton.test_served_models import NAMES, in_process

PATIENT = {"queue_timeout_s": PATIENCE_S, "request_timeout_s": PATIENCE_S}
SPECS = {name: load_spec(REPOSITORY / name) for name in NAMES}
CONNECTNET = SPECS["connectnet"]


@dataclass(frozen=True)
class Server:
    """Whatever listens at `address`, which has no scheme."""

    address: str

    def client(self) -> InferenceServerClient:
        return InferenceServerClient(
            self.address, connection_timeout=PATIENCE_S, network_timeout=PATIENCE_S
        )


@pytest.fixture(scope="module", params=["gateway with onnx", "gateway with triton", "triton"])
def server(request, tmp_path_factory) -> Iterator[Server]:
    if request.param == "triton":
        yield Server(request.getfixturevalue("triton_server").http)
        return
    engine = {"engine": "onnx"}
    if request.param == "gateway with triton":
        engine = {"triton_url": request.getfixturevalue("triton_server").grpc}
    folder = tmp_path_factory.mktemp("gateway")
    with run_gateway(folder, model_repository=REPOSITORY, **engine, **PATIENT) as gateway:
        server = Server(gateway.url.removeprefix("http://"))
        with server.client() as client:
            until(client.is_server_ready)
        yield server


def until(condition: Callable[[], bool]) -> None:
    """A warm-up takes seconds, and a gateway gives Triton two to say that it is ready, which beside
    other work are not always enough.
    """
    give_up = time.monotonic() + 3 * PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, "it never became ready"
        time.sleep(0.01)


@pytest.fixture
def client(server) -> Iterator[InferenceServerClient]:
    with server.client() as client:
        yield client


def tensors(inputs: dict[str, np.ndarray], *, binary: bool) -> list[InferInput]:
    made = []
    for name, array in inputs.items():
        wire = to_wire(array)
        made.append(InferInput(name, wire.shape, DATATYPES[array.dtype.name]))
        made[-1].set_data_from_numpy(wire, binary_data=binary)
    return made


def ask(
    client: InferenceServerClient,
    spec: ModelSpec,
    inputs: dict[str, np.ndarray],
    *,
    binary: bool = True,
    **more: object,
) -> InferResult:
    outputs = [InferRequestedOutput(spec.output.name, binary_data=binary)]
    given = {"outputs": outputs, **more}
    return client.infer(spec.name, tensors(inputs, binary=binary), **given)


def test_it_is_alive_and_ready(client):
    assert client.is_server_live()
    until(client.is_server_ready)
    for name in NAMES:
        until(partial(client.is_model_ready, name))
        until(partial(client.is_model_ready, name, "1"))
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready("connectnet", "2")


def test_it_takes_binary_tensors(client):
    told = client.get_server_metadata()
    assert told.keys() == {"name", "version", "extensions"}
    assert "binary_tensor_data" in told["extensions"]


@pytest.mark.parametrize("name", NAMES)
def test_it_tells_what_a_model_takes_and_gives(client, name):
    spec = SPECS[name]

    def told(tensor):
        sides = list(tensor.shape[1:]) or [1]
        return {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": [-1, *sides]}

    expected = {
        "name": name,
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [told(tensor) for tensor in spec.inputs],
        "outputs": [told(spec.output)],
    }
    assert client.get_model_metadata(name) == expected
    assert client.get_model_metadata(name, "1") == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_it_answers_what_onnx_runtime_answers(client, name, rows, binary):
    spec = SPECS[name]
    inputs = random_inputs(spec, rows, seed=rows)
    (expected,) = in_process(spec).run(None, inputs)
    answer = ask(client, spec, inputs, binary=binary, request_id="seven")
    output = answer.as_numpy(spec.output.name)
    assert output.dtype == spec.output.dtype
    np.testing.assert_array_equal(output, expected)
    document = answer.get_response()
    (tensor,) = document.pop("outputs")
    assert document == {"id": "seven", "model_name": name, "model_version": "1"}
    if binary:
        assert tensor.pop("parameters") == {"binary_data_size": expected.nbytes}
    else:
        assert len(tensor.pop("data")) == expected.size
    assert tensor == tensor_header(spec.output.name, expected)


def test_all_outputs_are_binary_where_none_is_named(client):
    answer = client.infer("connectnet", tensors(random_inputs(CONNECTNET, 2), binary=True))
    (tensor,) = answer.get_response()["outputs"]
    assert tensor["parameters"] == {"binary_data_size": 2 * 192 * 192}
    assert "id" not in answer.get_response()


def test_a_version_may_be_named(client):
    inputs = random_inputs(CONNECTNET, 1)
    answers = [
        ask(client, CONNECTNET, inputs, model_version=version).as_numpy("alpha")
        for version in ("", "1")
    ]
    np.testing.assert_array_equal(*answers)


def test_as_many_rows_as_the_model_takes(client):
    """Each row is what it would be alone, or one level of 255 off: kernels add up differently."""
    inputs = random_inputs(CONNECTNET, CONNECTNET.max_batch)
    together = ask(client, CONNECTNET, inputs).as_numpy("alpha").astype(int)
    for row in (0, 7, 15):
        alone = ask(client, CONNECTNET, {"image": inputs["image"][row : row + 1]})
        np.testing.assert_allclose(together[row], alone.as_numpy("alpha")[0], atol=1, rtol=0)


def test_what_the_gateway_does_not_know_of_a_request_changes_nothing(client):
    inputs = random_inputs(CONNECTNET, 1)
    expected = ask(client, CONNECTNET, inputs).as_numpy("alpha")
    answer = ask(
        client,
        CONNECTNET,
        inputs,
        priority=2,
        timeout=60_000_000,
        parameters={"anything": "else"},
        response_compression_algorithm="gzip",
    )
    np.testing.assert_array_equal(answer.as_numpy("alpha"), expected)


def wrong(**changes: np.ndarray) -> dict[str, np.ndarray]:
    inputs = random_inputs(SPECS["md_trisenet"], 1) | changes
    return {name: array for name, array in inputs.items() if array is not None}


WRONG = {
    "shape": wrong(image=np.zeros((1, 3, 384, 384), np.uint8)),
    "flat": wrong(image=np.zeros((384, 384, 3), np.uint8)),
    "datatype": wrong(image=np.zeros((1, 384, 384, 3), np.float32)),
    "rows differ": wrong(domain=np.zeros(2, np.int64)),
    "missing": wrong(domain=None),
    "unknown": wrong(prior=np.zeros((1, 384, 384), np.uint8)),
}


@pytest.mark.parametrize("inputs", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_what_does_not_fit_the_model_is_a_400(client, inputs, binary):
    refused(client, "400", "md_trisenet", inputs, binary=binary)


def test_too_many_rows_are_a_400_that_says_how_many_there_may_be(client):
    inputs = random_inputs(CONNECTNET, CONNECTNET.max_batch + 1)
    assert "16" in refused(client, "400", "connectnet", inputs)


@pytest.mark.parametrize("output", ["beta", ""])
def test_an_unknown_output_is_a_400(client, output):
    with pytest.raises(InferenceServerException) as error:
        ask(
            client,
            CONNECTNET,
            random_inputs(CONNECTNET, 1),
            outputs=[InferRequestedOutput(output)],
        )
    assert error.value.status() == "400"


def test_an_unknown_model_or_version_is_a_404(client):
    inputs = random_inputs(CONNECTNET, 1)
    refused(client, "404", "nobody", inputs)
    refused(client, "404", "connectnet", inputs, model_version="2")
    for model in (("nobody",), ("connectnet", "2")):
        with pytest.raises(InferenceServerException) as error:
            client.get_model_metadata(*model)
        assert error.value.status() == "404"


def refused(
    client: InferenceServerClient,
    status: str,
    model: str,
    inputs: dict[str, np.ndarray],
    *,
    binary: bool = True,
    **more: object,
) -> str:
    """The text of a refusal, which came as the protocol has it."""
    with pytest.raises(InferenceServerException) as error:
        client.infer(model, tensors(inputs, binary=binary), **more)
    assert error.value.status() == status
    text: str = error.value.message()
    assert "exception occurred in the client" not in text
    return text


def test_one_row_without_json(server):
    """No client of Triton's sends it."""
    spec = CONNECTNET
    inputs = random_inputs(spec, 1)
    with httpx.Client(base_url=f"http://{server.address}", timeout=PATIENCE_S) as client:

        def post(body: bytes) -> httpx.Response:
            headers = {"Inference-Header-Content-Length": "0", "Accept-Encoding": "identity"}
            return client.post("/v2/models/connectnet/infer", content=body, headers=headers)

        whole, short = post(inputs["image"].tobytes()), post(inputs["image"].tobytes()[1:])
    assert short.status_code == 400
    assert short.json().keys() == {"error"}
    length = int(whole.headers["inference-header-content-length"])
    output = np.frombuffer(whole.content[length:], np.uint8).reshape(1, *spec.size_hw)
    (expected,) = in_process(spec).run(None, inputs)
    np.testing.assert_array_equal(output, expected)
