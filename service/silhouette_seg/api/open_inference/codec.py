"""Decodes inference requests to the input tensors of a model, and encodes its output.

Source: Open Inference Protocol, REST, with its extension for binary tensor data.
"""

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.api.open_inference.json_tensors import (
    UnparsedArray,
    read_document,
    read_numbers,
    write_numbers,
)
from silhouette_seg.engine.base import Tensors
from silhouette_seg.errors import BadParameter, EngineFailed, MalformedBody
from silhouette_seg.spec import ModelSpec, TensorSpec

BINARY_SIZE = "binary_data_size"
"""Name of an input's parameter: the number of its bytes after the JSON."""
BINARY_DATA = "binary_data"
"""Name of an output's parameter: true sends the output as bytes after the JSON."""
BINARY_DATA_OUTPUT = "binary_data_output"
"""Name of a request's parameter: the default of `binary_data` for all outputs."""
UNSUPPORTED_PARAMETERS = ("shared_memory_region", "classification")
"""Parameters of a tensor that are rejected.

They change its location or its meaning, so they must not be ignored.
"""
MAX_ECHOED_CHARS = 80
"""Number of characters after which an error message cuts a value of the request."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InferRequest:
    """Decoded inference request: its id, and the input tensors by name with `rows` rows each."""

    id: str
    inputs: Tensors
    rows: int
    binary: bool
    """True if the output is sent as bytes after the JSON, not as a list of numbers."""


@dataclass(frozen=True, slots=True)
class InferResponse:
    """Body of an inference response, and the number of its bytes that are JSON."""

    body: bytes
    header_length: int | None
    """Bytes of JSON at the beginning of the body; None if all of it is JSON."""


def decode_request(body: bytes, header_length: int | None, spec: ModelSpec) -> InferRequest:
    """Decodes the body of an inference request to input tensors that fit the model of `spec`.

    `header_length` is the number of bytes of JSON before binary tensors; None means all of the
    body. With 0 the body is one row of the only input. Raises MalformedBody for invalid JSON or a
    wrong length, and BadParameter for tensors that do not fit the model. Slow: call it in a thread.
    """
    if header_length == 0:
        return _decode_raw_row(body, spec)
    if header_length is not None and header_length > len(body):
        raise MalformedBody(
            "The body is shorter than Inference-Header-Content-Length says.",
            limit=len(body),
            actual=header_length,
        )
    header = body if header_length is None else body[:header_length]
    request = _require_type(_parse_header(header, header_length), dict, "The request")
    inputs, rows = _decode_inputs(request, _BinaryReader(body, len(header)), spec)
    id = _require_type(request.get("id", ""), str, "id")
    return InferRequest(id, inputs, rows, _wants_binary_output(request, spec))


def _parse_header(header: bytes, header_length: int | None) -> object:
    try:
        return read_document(header)
    except ValueError as error:
        hint = "" if header_length else " Bytes after it need Inference-Header-Content-Length."
        raise MalformedBody(f"{error}{hint}") from None


def encode_response(request: InferRequest, spec: ModelSpec, output: NDArray[Any]) -> InferResponse:
    """Encodes the output tensor of a model as JSON or, if `request` asks for it, in binary.

    Raises EngineFailed for a number that is not finite, which JSON cannot hold. Slow: call it in a
    thread.
    """
    tensor: dict[str, Any] = {
        "name": spec.output.name,
        "datatype": spec.output.datatype,
        "shape": output.shape,
    }
    if request.binary:
        raw = output.astype(_little_endian(spec.output), copy=False).tobytes()
        tensor["parameters"] = {BINARY_SIZE: len(raw)}
        header = _response_json(request, spec, _to_json(tensor))
        return InferResponse(header + raw, len(header))
    try:
        numbers = write_numbers(output)
    except ValueError as error:
        raise EngineFailed("The model's output contains a number that is not finite") from error
    with_data = b'%s,"data":%s}' % (_to_json(tensor)[:-1], numbers)
    return InferResponse(_response_json(request, spec, with_data), None)


def _response_json(request: InferRequest, spec: ModelSpec, tensor: bytes) -> bytes:
    id = {"id": request.id} if request.id else {}
    head = _to_json(id | {"model_name": spec.name, "model_version": str(spec.version)})
    return b'%s,"outputs":[%s]}' % (head[:-1], tensor)


def _to_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class _BinaryReader:
    """Reads binary input tensors one after another from `body`, beginning at byte `position`.

    The tensors follow the JSON, in the order of the inputs.
    """

    def __init__(self, body: bytes, position: int) -> None:
        self._body = body
        self._position = position

    @property
    def remaining(self) -> int:
        """Number of bytes that are still unread."""
        return len(self._body) - self._position

    def read_tensor(self, tensor: TensorSpec, shape: tuple[int, ...], size: object) -> NDArray[Any]:
        """Reads the next `size` little-endian bytes as an array of this shape.

        The array has the dtype of `tensor` in native byte order. Raises BadParameter if `size`
        does not match the shape or fewer bytes are left.
        """
        dtype = _little_endian(tensor)
        expected = prod(shape) * dtype.itemsize
        if size != expected or isinstance(size, bool):
            raise _invalid_input(
                tensor, f"{BINARY_SIZE} is {_shortened(size)}; its shape makes up {expected} bytes"
            )
        if expected > self.remaining:
            raise _invalid_input(
                tensor, f"{BINARY_SIZE} is {expected}, and {self.remaining} bytes are left"
            )
        array = np.frombuffer(self._body, dtype, prod(shape), self._position).reshape(shape)
        self._position += expected
        # After JSON of any length the array may be unaligned. The engine needs native byte order.
        return np.require(array, tensor.dtype, ["C", "A"])


def _little_endian(tensor: TensorSpec) -> np.dtype[Any]:
    return np.dtype(tensor.dtype).newbyteorder("<")


def _decode_raw_row(body: bytes, spec: ModelSpec) -> InferRequest:
    """Decodes a body without JSON, which is one row of the model's only input in binary.

    The answer is binary as well. Raises BadParameter for a model with several inputs, or for
    another number of bytes.
    """
    if len(spec.inputs) != 1:
        names = " and ".join(tensor.name for tensor in spec.inputs)
        raise BadParameter(f"{spec.name} takes {names}: a request needs its JSON.")
    (tensor,) = spec.inputs
    row = _BinaryReader(body, 0).read_tensor(tensor, (1, *tensor.row_shape), len(body))
    return InferRequest("", {tensor.name: _to_engine_shape(row, tensor)}, 1, binary=True)


def _decode_inputs(
    request: Mapping[str, Any], binary: _BinaryReader, spec: ModelSpec
) -> tuple[dict[str, NDArray[Any]], int]:
    """Decodes all inputs of a request; returns them by name, and their common number of rows.

    Raises BadParameter for an input that is missing, unknown or does not fit the model.
    """
    specs = {tensor.name: tensor for tensor in spec.inputs}
    tensors = _tensors_by_name(request, "inputs", specs.keys(), spec)
    rows = {name: _row_count(tensor, specs[name], spec) for name, tensor in tensors.items()}
    if missing := specs.keys() - tensors.keys():
        raise BadParameter(f"inputs: {', '.join(sorted(missing))} is missing.")
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{count} of {name}" for name, count in rows.items())
        raise BadParameter(f"inputs: every input must have the same number of rows, not {counts}.")
    arrays = {
        name: _decode_tensor(tensor, specs[name], rows[name], binary)
        for name, tensor in tensors.items()
    }
    if binary.remaining:
        raise MalformedBody(f"The body has {binary.remaining} bytes more than its inputs.")
    return arrays, rows.popitem()[1]


def _tensors_by_name(
    request: Mapping[str, Any], field: str, known: Set[str], spec: ModelSpec
) -> dict[str, dict[str, Any]]:
    """Returns the JSON objects of the list `field`, `inputs` or `outputs`, by tensor name.

    Raises BadParameter for a name that is not in `known` or occurs twice, and for an unsupported
    parameter.
    """
    tensors: dict[str, dict[str, Any]] = {}
    for item in _require_type(request.get(field, []), list, field):
        tensor = _require_type(item, dict, f"Each of {field}")
        name = _require_type(tensor.get("name"), str, f"{field}: name")
        if name not in known:
            names = ", ".join(sorted(known))
            raise BadParameter(f"{field}: {spec.name} has no {_shortened(name)}; it has {names}.")
        if name in tensors:
            raise BadParameter(f"{field}: {name} is given twice.")
        parameters = _parameters(tensor, name)
        if unsupported := [one for one in UNSUPPORTED_PARAMETERS if one in parameters]:
            raise BadParameter(f"{field}: {name}: {unsupported[0]} is not supported.")
        tensors[name] = tensor
    return tensors


def _row_count(tensor: Mapping[str, Any], expected: TensorSpec, spec: ModelSpec) -> int:
    """Returns the number of rows that an input declares: the first side of its shape.

    Raises BadParameter if datatype or row shape are not those of `expected`, or for more rows than
    the model takes.
    """
    if tensor.get("datatype") != expected.datatype:
        datatype = _shortened(tensor.get("datatype"))
        raise _invalid_input(expected, f"datatype is {datatype}, not {expected.datatype}")
    shape = _require_type(tensor.get("shape"), list, f"inputs: {expected.name}: shape")
    row = list(expected.row_shape)
    are_integers = all(type(side) is int for side in shape)
    if not are_integers or shape[1:] != row or not shape or shape[0] < 1:
        raise _invalid_input(expected, f"shape is {_shortened(shape)}, not {[-1, *row]}")
    if shape[0] > spec.max_batch:
        raise BadParameter(
            f"{spec.name} takes at most {spec.max_batch} rows in a request.",
            limit=spec.max_batch,
            actual=shape[0],
        )
    return int(shape[0])


def _decode_tensor(
    tensor: Mapping[str, Any], expected: TensorSpec, rows: int, binary: _BinaryReader
) -> NDArray[Any]:
    shape = (rows, *expected.row_shape)
    parameters = _parameters(tensor, expected.name)
    if BINARY_SIZE in parameters:
        if "data" in tensor:
            raise _invalid_input(expected, f"it has both data and {BINARY_SIZE}")
        array = binary.read_tensor(expected, shape, parameters[BINARY_SIZE])
        return _to_engine_shape(array, expected)
    if "data" not in tensor:
        raise _invalid_input(expected, f"it has neither data nor the parameter {BINARY_SIZE}")
    field = f"inputs: {expected.name}: data"
    data = _require_type(tensor["data"], UnparsedArray, field, "a list of numbers")
    try:
        return _to_engine_shape(read_numbers(data, shape, expected.dtype), expected)
    except ValueError as error:
        raise _invalid_input(expected, f"data {error}") from None


def _to_engine_shape(array: NDArray[Any], tensor: TensorSpec) -> NDArray[Any]:
    return array.reshape(len(array), *tensor.shape[1:])


def _wants_binary_output(request: Mapping[str, Any], spec: ModelSpec) -> bool:
    """Returns True if the request asks for binary output.

    The parameter of the output takes precedence over that of the request; the default is False.
    """
    default = _flag(_parameters(request, "The request"), BINARY_DATA_OUTPUT, default=False)
    output = _tensors_by_name(request, "outputs", {spec.output.name}, spec).get(
        spec.output.name, {}
    )
    return _flag(_parameters(output, spec.output.name), BINARY_DATA, default=default)


def _parameters(owner: Mapping[str, Any], owner_name: str) -> dict[str, Any]:
    return _require_type(owner.get("parameters", {}), dict, f"{owner_name}: parameters")


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    return _require_type(parameters.get(name, default), bool, name)


JSON_TYPES = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}


def _require_type(value: object, kind: type[T], field: str, kind_name: str | None = None) -> T:
    if not isinstance(value, kind):
        raise BadParameter(f"{field} must be {kind_name or JSON_TYPES[kind]}.")
    return value


def _invalid_input(tensor: TensorSpec, reason: str) -> BadParameter:
    return BadParameter(f"inputs: {tensor.name}: {reason}.")


def _shortened(value: object) -> str:
    """Returns the value as JSON text, cut after `MAX_ECHOED_CHARS` characters."""
    text = json.dumps(value, default=lambda _: "...")
    return text if len(text) <= MAX_ECHOED_CHARS else f"{text[:MAX_ECHOED_CHARS]}..."
