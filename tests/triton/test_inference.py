"""Triton's own HTTP client gets the same responses from a gateway and from Triton.

The gateway differs from Triton 2.51 in these points. Triton accepts compressed bodies, shared
memory, classification and an output that is named twice. Readiness of an unknown model is a 400 in
Triton and a 404 in the gateway. Malformed JSON is a 500 in Triton and a 400 in the gateway. Triton
accepts numbers over 255 for uint8. With `binary_data_output`, Triton still sends an output without
`binary_data` as JSON; its documentation and the gateway send it as binary.
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
from tests.triton.gateway import TIMEOUT_S, run_gateway
from tests.triton.test_served_models import NAMES, in_process

LONG_TIMEOUTS = {"queue_timeout_s": TIMEOUT_S, "request_timeout_s": TIMEOUT_S}
SPECS = {name: load_spec(REPOSITORY / name) for name in NAMES}
CONNECTNET = SPECS["connectnet"]


@dataclass(frozen=True)
class Server:
    """A gateway or a Triton. `address` is host and port."""

    address: str

    def client(self) -> InferenceServerClient:
        return InferenceServerClient(
            self.address, connection_timeout=TIMEOUT_S, network_timeout=TIMEOUT_S
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
    with run_gateway(folder, model_repository=REPOSITORY, **engine, **LONG_TIMEOUTS) as gateway:
        server = Server(gateway.url.removeprefix("http://"))
        with server.client() as client:
            wait_until(client.is_server_ready)
        yield server


def wait_until(condition: Callable[[], bool]) -> None:
    """Polls a server in another process, which sends no notification.

    A warm-up takes seconds. A gateway waits two seconds for Triton's readiness, too short at times
    on a busy machine.
    """
    give_up_at = time.monotonic() + 3 * TIMEOUT_S
    while not condition():
        assert time.monotonic() < give_up_at, "the server never became ready"
        time.sleep(0.01)


@pytest.fixture
def client(server) -> Iterator[InferenceServerClient]:
    with server.client() as client:
        yield client


def infer_inputs(inputs: dict[str, np.ndarray], *, binary: bool) -> list[InferInput]:
    tensors = []
    for name, array in inputs.items():
        wire = to_wire(array)
        tensors.append(InferInput(name, wire.shape, DATATYPES[array.dtype.name]))
        tensors[-1].set_data_from_numpy(wire, binary_data=binary)
    return tensors


def infer(
    client: InferenceServerClient,
    spec: ModelSpec,
    inputs: dict[str, np.ndarray],
    *,
    binary: bool = True,
    **more: object,
) -> InferResult:
    outputs = [InferRequestedOutput(spec.output.name, binary_data=binary)]
    options = {"outputs": outputs, **more}
    return client.infer(spec.name, infer_inputs(inputs, binary=binary), **options)


def test_server_and_models_are_ready(client):
    assert client.is_server_live()
    wait_until(client.is_server_ready)
    for name in NAMES:
        wait_until(partial(client.is_model_ready, name))
        wait_until(partial(client.is_model_ready, name, "1"))
    assert not client.is_model_ready("unknown")
    assert not client.is_model_ready("connectnet", "2")


def test_server_metadata_lists_binary_tensors(client):
    metadata = client.get_server_metadata()
    assert metadata.keys() == {"name", "version", "extensions"}
    assert "binary_tensor_data" in metadata["extensions"]


@pytest.mark.parametrize("name", NAMES)
def test_model_metadata_lists_inputs_and_output(client, name):
    spec = SPECS[name]

    def tensor_metadata(tensor):
        row_shape = list(tensor.shape[1:]) or [1]
        datatype = DATATYPES[tensor.dtype]
        return {"name": tensor.name, "datatype": datatype, "shape": [-1, *row_shape]}

    expected = {
        "name": name,
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [tensor_metadata(tensor) for tensor in spec.inputs],
        "outputs": [tensor_metadata(spec.output)],
    }
    assert client.get_model_metadata(name) == expected
    assert client.get_model_metadata(name, "1") == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_output_equals_that_of_onnx_runtime(client, name, rows, binary):
    spec = SPECS[name]
    inputs = random_inputs(spec, rows, seed=rows)
    (expected,) = in_process(spec).run(None, inputs)
    answer = infer(client, spec, inputs, binary=binary, request_id="seven")
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


def test_unnamed_outputs_are_binary(client):
    answer = client.infer("connectnet", infer_inputs(random_inputs(CONNECTNET, 2), binary=True))
    (tensor,) = answer.get_response()["outputs"]
    assert tensor["parameters"] == {"binary_data_size": 2 * 192 * 192}
    assert "id" not in answer.get_response()


def test_version_in_the_request_is_optional(client):
    inputs = random_inputs(CONNECTNET, 1)
    answers = [
        infer(client, CONNECTNET, inputs, model_version=version).as_numpy("alpha")
        for version in ("", "1")
    ]
    np.testing.assert_array_equal(*answers)


def test_largest_batch_equals_its_single_rows(client):
    """The tolerance is one level of 255: kernels add up in another order by batch size."""
    inputs = random_inputs(CONNECTNET, CONNECTNET.max_batch)
    together = infer(client, CONNECTNET, inputs).as_numpy("alpha").astype(int)
    for row in (0, 7, 15):
        alone = infer(client, CONNECTNET, {"image": inputs["image"][row : row + 1]})
        np.testing.assert_allclose(together[row], alone.as_numpy("alpha")[0], atol=1, rtol=0)


def test_unknown_request_parameters_are_ignored(client):
    inputs = random_inputs(CONNECTNET, 1)
    expected = infer(client, CONNECTNET, inputs).as_numpy("alpha")
    answer = infer(
        client,
        CONNECTNET,
        inputs,
        priority=2,
        timeout=60_000_000,
        parameters={"anything": "else"},
        response_compression_algorithm="gzip",
    )
    np.testing.assert_array_equal(answer.as_numpy("alpha"), expected)


def wrong_inputs(**changes: np.ndarray) -> dict[str, np.ndarray]:
    inputs = random_inputs(SPECS["md_trisenet"], 1) | changes
    return {name: array for name, array in inputs.items() if array is not None}


WRONG_INPUTS = {
    "shape": wrong_inputs(image=np.zeros((1, 3, 384, 384), np.uint8)),
    "flat": wrong_inputs(image=np.zeros((384, 384, 3), np.uint8)),
    "datatype": wrong_inputs(image=np.zeros((1, 384, 384, 3), np.float32)),
    "rows differ": wrong_inputs(domain=np.zeros(2, np.int64)),
    "missing": wrong_inputs(domain=None),
    "unknown": wrong_inputs(prior=np.zeros((1, 384, 384), np.uint8)),
}


@pytest.mark.parametrize("inputs", WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys())
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_wrong_inputs_are_a_400(client, inputs, binary):
    rejection(client, "400", "md_trisenet", inputs, binary=binary)


def test_too_many_rows_are_a_400_with_the_limit(client):
    inputs = random_inputs(CONNECTNET, CONNECTNET.max_batch + 1)
    assert "16" in rejection(client, "400", "connectnet", inputs)


@pytest.mark.parametrize("output", ["beta", ""])
def test_unknown_output_is_a_400(client, output):
    with pytest.raises(InferenceServerException) as error:
        infer(
            client,
            CONNECTNET,
            random_inputs(CONNECTNET, 1),
            outputs=[InferRequestedOutput(output)],
        )
    assert error.value.status() == "400"


def test_unknown_model_or_version_is_a_404(client):
    inputs = random_inputs(CONNECTNET, 1)
    rejection(client, "404", "unknown", inputs)
    rejection(client, "404", "connectnet", inputs, model_version="2")
    for model in (("unknown",), ("connectnet", "2")):
        with pytest.raises(InferenceServerException) as error:
            client.get_model_metadata(*model)
        assert error.value.status() == "404"


def rejection(
    client: InferenceServerClient,
    status: str,
    model: str,
    inputs: dict[str, np.ndarray],
    *,
    binary: bool = True,
    **more: object,
) -> str:
    """Returns the text of an error response in the format of the protocol."""
    with pytest.raises(InferenceServerException) as error:
        client.infer(model, infer_inputs(inputs, binary=binary), **more)
    assert error.value.status() == status
    text: str = error.value.message()
    assert "exception occurred in the client" not in text
    return text


def test_raw_body_is_one_row(server):
    """Triton's clients never send a body without JSON, so that this test uses httpx."""
    spec = CONNECTNET
    inputs = random_inputs(spec, 1)
    with httpx.Client(base_url=f"http://{server.address}", timeout=TIMEOUT_S) as client:

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
