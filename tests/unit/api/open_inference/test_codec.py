"""Decoding of inference requests and encoding of responses."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.api.open_inference.codec import InferRequest, decode_request, encode_response
from silhouette_seg.errors import BadParameter, EngineFailed, MalformedBody
from silhouette_seg.spec import TensorSpec
from tests.support.malformed_tensors import MALFORMED
from tests.support.tensors import (
    binary_request,
    json_request,
    random_inputs,
    tensor_header,
    to_wire,
)
from tests.support.tiny_model import tiny_spec
from tests.unit.api.open_inference.random_tensors import DTYPES, random_tensor

NAMES = ("connectnet", "rcrnet", "md_trisenet", "face_detector")
SMALL = tiny_spec(size_hw=(2, 2), max_batch=2)


def check_inputs(request: InferRequest, inputs: dict[str, np.ndarray], rows: int) -> None:
    assert request.rows == rows
    assert request.inputs.keys() == inputs.keys()
    for name, array in inputs.items():
        assert request.inputs[name].dtype == array.dtype
        np.testing.assert_array_equal(request.inputs[name], array)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("nested", [False, True])
def test_json_tensors_become_engine_inputs(name, rows, nested):
    spec = tiny_spec(name)
    inputs = random_inputs(spec, rows)
    check_inputs(decode_request(json_request(inputs, nested=nested), None, spec), inputs, rows)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("padding", range(8))
def test_binary_tensors_become_engine_inputs_at_any_alignment(name, rows, padding):
    spec = tiny_spec(name)
    inputs = random_inputs(spec, rows)
    body, headers = binary_request(dict(reversed(inputs.items())), id="x" * padding)
    (length,) = headers.values()
    request = decode_request(body, int(length), spec)
    check_inputs(request, inputs, rows)
    assert all(array.flags.aligned for array in request.inputs.values())


def test_json_and_binary_tensors_may_be_mixed():
    spec = tiny_spec("rcrnet")
    inputs = random_inputs(spec, 2)
    prior = tensor_header("prior", inputs["prior"]) | {"data": inputs["prior"].ravel().tolist()}
    image = tensor_header("image", inputs["image"])
    image["parameters"] = {"binary_data_size": inputs["image"].nbytes}
    header = json.dumps({"inputs": [prior, image]}).encode()
    request = decode_request(header + inputs["image"].tobytes(), len(header), spec)
    check_inputs(request, inputs, 2)


def test_body_without_json_is_one_row():
    spec = tiny_spec("connectnet")
    inputs = random_inputs(spec, 1)
    request = decode_request(inputs["image"].tobytes(), 0, spec)
    check_inputs(request, inputs, 1)
    assert request.binary
    with pytest.raises(BadParameter):
        decode_request(inputs["image"].tobytes() * 2, 0, spec)


def test_body_without_json_is_rejected_for_two_inputs():
    with pytest.raises(BadParameter, match="image and prior"):
        decode_request(b"", 0, tiny_spec("rcrnet"))


@pytest.mark.parametrize(
    ("members", "binary"),
    [
        ({}, False),
        ({"outputs": []}, False),
        ({"outputs": [{"name": "alpha"}]}, False),
        ({"outputs": [{"name": "alpha", "parameters": {"binary_data": True}}]}, True),
        ({"parameters": {"binary_data_output": True}}, True),
        ({"parameters": {"binary_data_output": True}, "outputs": [{"name": "alpha"}]}, True),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "alpha", "parameters": {"binary_data": False}}],
            },
            False,
        ),
        ({"parameters": {"anything": {"else": 1}}}, False),
    ],
)
def test_output_is_binary_on_request(members, binary):
    spec = tiny_spec()
    request = decode_request(json_request(random_inputs(spec, 1), **members), None, spec)
    assert request.binary is binary


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("id", ["", 'seven "7" \ud800'])
@pytest.mark.parametrize("dtype", DTYPES)
def test_response_can_be_read_back(binary, id, dtype):
    output = random_tensor((2, 30, 31), dtype, seed=5)
    spec = tiny_spec().model_copy(
        update={"output": TensorSpec(name="alpha", dtype=dtype, shape=(-1, 30, 31))}
    )
    response = encode_response(InferRequest(id, {}, 2, binary=binary), spec, output)
    document = json.loads(response.body[: response.header_length])
    (tensor,) = document.pop("outputs")
    model = {"model_name": "connectnet", "model_version": "1"}
    assert document == (model | {"id": id} if id else model)
    raw = output.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    if binary:
        assert response.body[response.header_length :] == raw
        assert tensor.pop("parameters") == {"binary_data_size": len(raw)}
    else:
        np.testing.assert_array_equal(np.array(tensor.pop("data"), dtype), output.ravel())
    assert tensor == tensor_header("alpha", output)


def test_output_that_is_not_finite_has_no_json():
    spec = tiny_spec("face_detector")
    output = np.full((1, 1, 5), np.inf, np.float32)
    with pytest.raises(EngineFailed):
        encode_response(InferRequest("", {}, 1, binary=False), spec, output)
    response = encode_response(InferRequest("", {}, 1, binary=True), spec, output)
    assert response.body.endswith(output.tobytes())


@pytest.mark.parametrize(("body", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_request_is_rejected_with_reason(body, message):
    with pytest.raises((BadParameter, MalformedBody), match=re.escape(message)) as rejected:
        decode_request(body, None, tiny_spec())
    assert len(rejected.value.detail) < 300


def test_request_with_many_rows_is_rejected_with_limit():
    inputs = {"image": np.zeros((3, 2, 2, 3), np.uint8)}
    with pytest.raises(BadParameter) as rejected:
        decode_request(json_request(inputs), None, SMALL)
    assert (rejected.value.limit, rejected.value.actual) == (2, 3)


def test_inputs_with_different_rows_are_rejected():
    spec = tiny_spec("md_trisenet")
    inputs = random_inputs(spec, 2) | {"domain": np.zeros(1, np.int64)}
    with pytest.raises(BadParameter, match="2 of image, 1 of domain"):
        decode_request(json_request(inputs), None, spec)


def test_scalar_rows_have_an_axis_of_their_own():
    spec = tiny_spec("md_trisenet")
    document = json.loads(json_request(random_inputs(spec, 2)))
    assert document["inputs"][1]["shape"] == [2, 1]
    document["inputs"][1]["shape"] = [2]
    with pytest.raises(BadParameter, match=r"shape is \[2\], not \[-1, 1\]"):
        decode_request(json.dumps(document).encode(), None, spec)


BODY, HEADERS = binary_request(random_inputs(SMALL, 1))
(LENGTH,) = map(int, HEADERS.values())


@pytest.mark.parametrize(
    ("body", "length", "message"),
    [
        (BODY + b"x", LENGTH, "1 bytes more"),
        (BODY[:-1], LENGTH, "11 bytes are left"),
        (BODY, len(BODY) + 1, "shorter than"),
        (BODY, LENGTH - 1, "cannot be parsed"),
        (BODY, None, "need Inference-Header-Content-Length"),
        (b"", None, "cannot be parsed"),
    ],
    ids=["long body", "short body", "long header", "short header", "no length", "empty"],
)
def test_body_of_wrong_length_is_rejected(body, length, message):
    with pytest.raises((MalformedBody, BadParameter), match=message):
        decode_request(body, length, SMALL)


@given(st.binary(max_size=300), st.none() | st.integers(0, 400), st.booleans())
def test_arbitrary_bytes_are_decoded_or_rejected(noise, length, starts_valid):
    valid = json_request(random_inputs(SMALL, 1))
    body = valid[: len(noise)] + noise if starts_valid else noise
    try:
        request = decode_request(body, length, SMALL)
    except (MalformedBody, BadParameter):
        return
    assert to_wire(request.inputs["image"]).shape == (1, 2, 2, 3)
