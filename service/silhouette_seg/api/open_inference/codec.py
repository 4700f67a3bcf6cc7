"""Bodies of requests become inputs of an engine, and its output the body of an answer.

Source: Open Inference Protocol, REST; its extension for binary tensor data.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.api.open_inference.json_tensors import (
    Numbers,
    read_document,
    read_numbers,
    write_numbers,
)
from silhouette_seg.engine.base import Tensors
from silhouette_seg.errors import BadParameter, EngineFailed, MalformedBody
from silhouette_seg.spec import ModelSpec, TensorSpec

SIZE = "binary_data_size"
BINARY = "binary_data"
ALL_BINARY = "binary_data_output"
ELSEWHERE = ("shared_memory_region", "classification")
"""Parameters of a tensor that change where or what it is: to ignore them would be wrong."""
NAME_CHARS = 80
"""Of a name that a refusal repeats."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was understood; `rows` of each input, which are as the engine takes them."""

    id: str
    inputs: Tensors
    rows: int
    binary: bool
    """How to send the output."""


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    header_length: int | None
    """Bytes of JSON at its beginning; None when there is nothing else."""


def read_request(body: bytes, header_length: int | None, spec: ModelSpec) -> Asked:
    """`header_length` is how many bytes of the body are JSON; None for all, and with 0 the body is
    one row of the only input.

    Raises MalformedBody, or BadParameter for what does not fit the model. Slow: call it in a
    worker.
    """
    if header_length == 0:
        return _one_row(body, spec)
    if header_length is not None and header_length > len(body):
        raise MalformedBody(
            "The body is shorter than Inference-Header-Content-Length says.",
            limit=len(body),
            actual=header_length,
        )
    header = body if header_length is None else body[:header_length]
    request = _typed(_document(header, header_length), dict, "The request")
    inputs, rows = _inputs(request, _Binary(body, len(header)), spec)
    id = _typed(request.get("id", ""), str, "id")
    return Asked(id, inputs, rows, _is_output_binary(request, spec))


def _document(header: bytes, header_length: int | None) -> object:
    try:
        return read_document(header)
    except ValueError as error:
        hint = "" if header_length else " Bytes after it need Inference-Header-Content-Length."
        raise MalformedBody(f"{error}{hint}") from None


def write_answer(asked: Asked, spec: ModelSpec, output: NDArray[Any]) -> Answer:
    """Raises EngineFailed for a number that JSON does not have. Slow: call it in a worker."""
    tensor: dict[str, Any] = {
        "name": spec.output.name,
        "datatype": spec.output.datatype,
        "shape": output.shape,
    }
    if asked.binary:
        raw = output.astype(_little_endian(spec.output), copy=False).tobytes()
        header = _answer_json(asked, spec, _json(tensor | {"parameters": {SIZE: len(raw)}}))
        return Answer(header + raw, len(header))
    try:
        numbers = write_numbers(output)
    except ValueError as error:
        raise EngineFailed("The model's answer has a number in it that is not finite") from error
    return Answer(_answer_json(asked, spec, b'%s,"data":%s}' % (_json(tensor)[:-1], numbers)), None)


def _answer_json(asked: Asked, spec: ModelSpec, tensor: bytes) -> bytes:
    named = {"id": asked.id} if asked.id else {}
    around = _json(named | {"model_name": spec.name, "model_version": str(spec.version)})
    return b'%s,"outputs":[%s]}' % (around[:-1], tensor)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class _Binary:
    """The bytes after the JSON, which inputs take in their order."""

    def __init__(self, body: bytes, at: int) -> None:
        self._body = body
        self._at = at

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def take(self, tensor: TensorSpec, shape: tuple[int, ...], size: object) -> NDArray[Any]:
        dtype = _little_endian(tensor)
        expected = prod(shape) * dtype.itemsize
        if size != expected or isinstance(size, bool):
            raise _bad(tensor, f"{SIZE} is {_short(size)}; its shape makes up {expected} bytes")
        if expected > self.left:
            raise _bad(tensor, f"{SIZE} is {expected}, and {self.left} bytes are left in the body")
        array = np.frombuffer(self._body, dtype, prod(shape), self._at).reshape(shape)
        self._at += expected
        # Behind JSON of any length it may not be aligned, and the engine's byte order is ours.
        return np.require(array, tensor.dtype, ["C", "A"])


def _little_endian(tensor: TensorSpec) -> np.dtype[Any]:
    return np.dtype(tensor.dtype).newbyteorder("<")


def _one_row(body: bytes, spec: ModelSpec) -> Asked:
    """The body of a request without JSON, which is answered in binary."""
    if len(spec.inputs) != 1:
        raise BadParameter(f"{spec.name} takes {_inputs_of(spec)}: a request needs its JSON.")
    (tensor,) = spec.inputs
    row = _Binary(body, 0).take(tensor, (1, *tensor.row_shape), len(body))
    return Asked("", {tensor.name: _for_engine(row, tensor)}, 1, binary=True)


def _inputs(
    request: Mapping[str, Any], binary: _Binary, spec: ModelSpec
) -> tuple[dict[str, NDArray[Any]], int]:
    """Each input, and the number of rows of all."""
    named = _named(request, "inputs", {tensor.name for tensor in spec.inputs}, spec)
    rows = {name: _rows(sent, _tensor(spec, name), spec) for name, sent in named.items()}
    if missing := {tensor.name for tensor in spec.inputs} - named.keys():
        raise BadParameter(f"inputs: {', '.join(sorted(missing))} is missing.")
    if len(set(rows.values())) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in rows.items())
        raise BadParameter(f"inputs: there must be as many rows of each, and there are {told}.")
    arrays = {
        name: _array(sent, _tensor(spec, name), rows[name], binary) for name, sent in named.items()
    }
    if binary.left:
        raise MalformedBody(f"The body has {binary.left} bytes more than its inputs.")
    return arrays, rows.popitem()[1]


def _named(
    request: Mapping[str, Any], field: str, known: set[str], spec: ModelSpec
) -> dict[str, dict[str, Any]]:
    """The tensors of a list by their names; raises unless each is known, and there once."""
    named: dict[str, dict[str, Any]] = {}
    for sent in _typed(request.get(field, []), list, field):
        name = _typed(_typed(sent, dict, f"Each of {field}").get("name"), str, f"{field}: name")
        if name not in known:
            there = ", ".join(sorted(known))
            raise BadParameter(f"{field}: {spec.name} has no {_short(name)}; there is {there}.")
        if name in named:
            raise BadParameter(f"{field}: {name} is there twice.")
        if elsewhere := [each for each in ELSEWHERE if each in _parameters(sent, name)]:
            raise BadParameter(f"{field}: {name}: {elsewhere[0]} is not supported.")
        named[name] = sent
    return named


def _rows(sent: Mapping[str, Any], tensor: TensorSpec, spec: ModelSpec) -> int:
    """The first side of the shape, when all that is said of the tensor is as it should be."""
    if sent.get("datatype") != tensor.datatype:
        raise _bad(tensor, f"datatype is {_short(sent.get('datatype'))}, not {tensor.datatype}")
    shape = _typed(sent.get("shape"), list, f"inputs: {tensor.name}: shape")
    expected = [-1, *tensor.row_shape]
    whole = all(type(side) is int for side in shape)
    if not whole or shape[1:] != expected[1:] or not shape or shape[0] < 1:
        raise _bad(tensor, f"shape is {_short(shape)}, not {expected}")
    if shape[0] > spec.max_batch:
        raise BadParameter(
            f"{spec.name} takes at most {spec.max_batch} rows in a request.",
            limit=spec.max_batch,
            actual=shape[0],
        )
    return int(shape[0])


def _array(sent: Mapping[str, Any], tensor: TensorSpec, rows: int, binary: _Binary) -> NDArray[Any]:
    shape = (rows, *tensor.row_shape)
    parameters = _parameters(sent, tensor.name)
    if SIZE in parameters:
        if "data" in sent:
            raise _bad(tensor, f"there is data, and {SIZE} too")
        return _for_engine(binary.take(tensor, shape, parameters[SIZE]), tensor)
    if "data" not in sent:
        raise _bad(tensor, f"there is neither data nor the parameter {SIZE}")
    numbers = _typed(sent["data"], Numbers, f"inputs: {tensor.name}: data", "a list of numbers")
    try:
        return _for_engine(read_numbers(numbers, shape, tensor.dtype), tensor)
    except ValueError as error:
        raise _bad(tensor, f"data {error}") from None


def _for_engine(array: NDArray[Any], tensor: TensorSpec) -> NDArray[Any]:
    return array.reshape(len(array), *tensor.shape[1:])


def _is_output_binary(request: Mapping[str, Any], spec: ModelSpec) -> bool:
    """By the output where it says so, else by the request."""
    by_default = _flag(_parameters(request, "The request"), ALL_BINARY, default=False)
    asked = _named(request, "outputs", {spec.output.name}, spec).get(spec.output.name, {})
    return _flag(_parameters(asked, spec.output.name), BINARY, default=by_default)


def _parameters(of: Mapping[str, Any], whose: str) -> dict[str, Any]:
    return _typed(of.get("parameters", {}), dict, f"{whose}: parameters")


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    return _typed(parameters.get(name, default), bool, name)


JSON_TYPES = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}


def _typed(value: object, kind: type[T], what: str, called: str | None = None) -> T:
    if not isinstance(value, kind):
        raise BadParameter(f"{what} must be {called or JSON_TYPES[kind]}.")
    return value


def _tensor(spec: ModelSpec, name: str) -> TensorSpec:
    return next(tensor for tensor in spec.inputs if tensor.name == name)


def _inputs_of(spec: ModelSpec) -> str:
    return " and ".join(tensor.name for tensor in spec.inputs)


def _bad(tensor: TensorSpec, why: str) -> BadParameter:
    return BadParameter(f"inputs: {tensor.name}: {why}.")


def _short(value: object) -> str:
    """As JSON, cut to what fits into a sentence."""
    text = json.dumps(value, default=lambda _: "...")
    return text if len(text) <= NAME_CHARS else f"{text[:NAME_CHARS]}..."
