"""The Open Inference Protocol as a client speaks it, so that no code under test checks itself."""

import json
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.spec import ModelSpec

LENGTH = "Inference-Header-Content-Length"
DATATYPES = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32"}
DTYPES = {kind: np.dtype(dtype).newbyteorder("<") for dtype, kind in DATATYPES.items()}

Arrays = dict[str, NDArray[Any]]


def random_inputs(spec: ModelSpec, rows: int, seed: int = 0) -> Arrays:
    """Noise of any value that the model takes, as the engine takes it."""
    random = np.random.default_rng(seed)
    most = {"uint8": 256, "int64": 6}
    return {
        tensor.name: random.integers(
            0, most[tensor.dtype], (rows, *tensor.shape[1:]), dtype=tensor.dtype
        )
        for tensor in spec.inputs
    }


def to_wire(array: NDArray[Any]) -> NDArray[Any]:
    """One number a row travels as [N,1]."""
    return array[:, None] if array.ndim == 1 else array


def tensor_header(name: str, array: NDArray[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES[array.dtype.name], "shape": list(array.shape)}


def json_request(inputs: Arrays, *, nested: bool = False, **more: Any) -> bytes:
    sent = []
    for name, array in inputs.items():
        wire = to_wire(array)
        sent.append(
            tensor_header(name, wire) | {"data": (wire if nested else wire.ravel()).tolist()}
        )
    return json.dumps({"inputs": sent, **more}).encode()


def binary_request(inputs: Arrays, **more: Any) -> tuple[bytes, dict[str, str]]:
    """The body, and the header that it needs."""
    sent, tail = [], b""
    for name, array in inputs.items():
        raw = to_wire(array).astype(array.dtype.newbyteorder("<")).tobytes()
        size = {"parameters": {"binary_data_size": len(raw)}}
        sent.append(tensor_header(name, to_wire(array)) | size)
        tail += raw
    header = json.dumps({"inputs": sent, **more}).encode()
    return header + tail, {LENGTH: str(len(header))}


def parse_response(response: httpx.Response) -> dict[str, Any]:
    """The document of an answer that must be one, each output's `data` an array."""
    assert response.status_code == 200, response.text
    length = response.headers.get(LENGTH)
    media_type = "application/json" if length is None else "application/octet-stream"
    assert response.headers["content-type"] == media_type
    at = len(response.content) if length is None else int(length)
    document: dict[str, Any] = json.loads(response.content[:at])
    for output in document["outputs"]:
        dtype, size = (
            DTYPES[output["datatype"]],
            output.get("parameters", {}).get("binary_data_size"),
        )
        if size is None:
            array = np.array(output["data"]).astype(dtype)
        else:
            assert "data" not in output
            array = np.frombuffer(response.content[at : at + size], dtype)
            at += size
        output["data"] = array.reshape(output["shape"])
    assert at == len(response.content)
    return document


def parse_output(response: httpx.Response) -> NDArray[Any]:
    """The only output."""
    (output,) = parse_response(response)["outputs"]
    array: NDArray[Any] = output["data"]
    return array


def parse_error(response: httpx.Response, status: int) -> str:
    """The text of a refusal, which must be of the protocol's shape."""
    assert response.status_code == status, response.text[:300]
    assert response.headers["content-type"] == "application/json"
    document = json.loads(response.content)
    assert document.keys() == {"error"}
    text: str = document["error"]
    return text
