"""What the Open Inference Protocol's routes answer, and what OpenAPI says about them."""

from typing import Any

from pydantic import Field

from silhouette_seg.api.media_types import JSON, OCTET_STREAM
from silhouette_seg.api.open_inference.codec import ALL_BINARY, SIZE
from silhouette_seg.api.open_inference.codec import BINARY as AS_BINARY
from silhouette_seg.api.openapi import BINARY, error_classes
from silhouette_seg.api.schemas import JsonModel
from silhouette_seg.spec import DATATYPES

HEADER_LENGTH = "Inference-Header-Content-Length"


class ServerMetadata(JsonModel):
    name: str
    version: str
    extensions: list[str] = Field(description="Of the protocol.")


class TensorMetadata(JsonModel):
    name: str
    datatype: str
    shape: list[int] = Field(description="-1 stands for the number of rows.")


class ModelMetadata(JsonModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InferenceError(JsonModel):
    """Every refusal and failure below `/v2` has this shape."""

    error: str = Field(description="What was wrong, in words.")


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, by status, with the kinds of them that the metrics tell apart."""
    return {
        status: {
            "description": ", ".join(
                sorted({f"`{kind.code}`" for kind in error_classes() if kind.status == status})
            ),
            "model": InferenceError,
        }
        for status in statuses
    }


def path_parameters(*names: str) -> dict[str, Any]:
    """Not arguments of the routes: FastAPI would describe a refusal of its own for them."""
    told = {"model": "As in `/v1/models`.", "version": "As in the model's metadata."}
    return {
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": told[name],
                "schema": {"type": "string"},
            }
            for name in names
        ]
    }


_HEADER = {
    "description": "Bytes of JSON at the beginning of the body, where tensors in binary follow it.",
    "schema": {"type": "integer", "minimum": 0},
}
_NAME = {"type": "string"}
_SHAPE = {"type": "array", "items": {"type": "integer"}}
_DATATYPE = {"type": "string", "enum": list(DATATYPES.values())}
_DATA = {
    "type": "array",
    "items": {},
    "description": "Numbers, row-major: one list, or nested as the shape is.",
}
_SIZED = {
    "type": "object",
    "properties": {SIZE: {"type": "integer", "description": "In place of `data`."}},
}


def _object(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _flags(name: str, description: str) -> dict[str, Any]:
    flag = {"type": "boolean", "default": False, "description": description}
    return {"type": "object", "properties": {name: flag}}


_TENSOR = {"name": _NAME, "datatype": _DATATYPE, "shape": _SHAPE, "data": _DATA}
_INPUT = _object(["name", "datatype", "shape"], _TENSOR | {"parameters": _SIZED})
_OUTPUT = _object(
    ["name"], {"name": _NAME, "parameters": _flags(AS_BINARY, "Send this output in binary.")}
)
_REQUEST = _object(
    ["inputs"],
    {
        "id": {"type": "string", "description": "Given back."},
        "parameters": _flags(ALL_BINARY, "Send what is not said otherwise in binary."),
        "inputs": {"type": "array", "items": _INPUT},
        "outputs": {"type": "array", "items": _OUTPUT, "description": "All of them without it."},
    },
)
_ANSWER = _object(
    ["model_name", "model_version", "outputs"],
    {
        "id": {"type": "string"},
        "model_name": _NAME,
        "model_version": {"type": "string"},
        "outputs": {"type": "array", "items": _INPUT},
    },
)


def infer_request(*names: str) -> dict[str, Any]:
    header = {"name": HEADER_LENGTH, "in": "header", "required": False, **_HEADER}
    return {
        "parameters": [*path_parameters(*names)["parameters"], header],
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": _REQUEST}, OCTET_STREAM: {"schema": BINARY}},
        },
    }


INFER_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The outputs: JSON, with binary tensors after it where they were asked for.",
        "headers": {HEADER_LENGTH: _HEADER},
        "content": {JSON: {"schema": _ANSWER}, OCTET_STREAM: {"schema": BINARY}},
    },
    **errors(400, 401, 404, 408, 413, 415, 500, 503, 504),
}
