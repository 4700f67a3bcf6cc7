"""Client side of the Open Inference Protocol, independent of the code under test."""

import json
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.spec import ModelSpec

LENGTH_HEADER = "Inference-Header-Content-Length"
DATATYPES = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32"}
DTYPES = {name: np.dtype(dtype).newbyteorder("<") for dtype, name in DATATYPES.items()}

Arrays = dict[str, NDArray[Any]]


def random_inputs(spec: ModelSpec, rows: int, seed: int = 0) -> Arrays:
    """Returns random inputs of an engine: bytes 0..255, domains 0..5."""
    random = np.random.default_rng(seed)
    bounds = {"uint8": 256, "int64": 6}
    return {
        tensor.name: random.integers(
            0, bounds[tensor.dtype], (rows, *tensor.shape[1:]), dtype=tensor.dtype
        )
        for tensor in spec.inputs
    }


def to_wire(array: NDArray[Any]) -> NDArray[Any]:
    """Returns the array in the shape of the protocol: [N] becomes [N,1]."""
    return array[:, None] if array.ndim == 1 else array


def tensor_header(name: str, array: NDArray[Any]) -> dict[str, Any]:
    """Returns the JSON members of a tensor, without data."""
    return {"name": name, "datatype": DATATYPES[array.dtype.name], "shape": list(array.shape)}


def json_request(inputs: Arrays, *, nested: bool = False, **more: Any) -> bytes:
    """Returns a request body with data as JSON; `more` are further members."""
    tensors = []
    for name, array in inputs.items():
        wire = to_wire(array)
        tensors.append(
            tensor_header(name, wire) | {"data": (wire if nested else wire.ravel()).tolist()}
        )
    return json.dumps({"inputs": tensors, **more}).encode()


def binary_request(inputs: Arrays, **more: Any) -> tuple[bytes, dict[str, str]]:
    """Returns a request body with binary data, and its headers."""
    tensors, tail = [], b""
    for name, array in inputs.items():
        raw = to_wire(array).astype(array.dtype.newbyteorder("<")).tobytes()
        size = {"parameters": {"binary_data_size": len(raw)}}
        tensors.append(tensor_header(name, to_wire(array)) | size)
        tail += raw
    header = json.dumps({"inputs": tensors, **more}).encode()
    return header + tail, {LENGTH_HEADER: str(len(header))}


def parse_response(response: httpx.Response) -> dict[str, Any]:
    """Returns the document of a successful response, with each output's `data` as an array."""
    assert response.status_code == 200, response.text
    length = response.headers.get(LENGTH_HEADER)
    media_type = "application/json" if length is None else "application/octet-stream"
    assert response.headers["content-type"] == media_type
    offset = len(response.content) if length is None else int(length)
    document: dict[str, Any] = json.loads(response.content[:offset])
    for output in document["outputs"]:
        dtype, size = (
            DTYPES[output["datatype"]],
            output.get("parameters", {}).get("binary_data_size"),
        )
        if size is None:
            array = np.array(output["data"]).astype(dtype)
        else:
            assert "data" not in output
            array = np.frombuffer(response.content[offset : offset + size], dtype)
            offset += size
        output["data"] = array.reshape(output["shape"])
    assert offset == len(response.content)
    return document


def parse_output(response: httpx.Response) -> NDArray[Any]:
    """Returns the only output of a successful response."""
    (output,) = parse_response(response)["outputs"]
    array: NDArray[Any] = output["data"]
    return array


def parse_error(response: httpx.Response, status: int) -> str:
    """Returns the text of an error response, which must have the protocol's shape."""
    assert response.status_code == status, response.text[:300]
    assert response.headers["content-type"] == "application/json"
    document = json.loads(response.content)
    assert document.keys() == {"error"}
    text: str = document["error"]
    return text
