"""JSON responses of the routes below `/v2`, and the OpenAPI descriptions of these routes."""

from typing import Any

from pydantic import Field

from silhouette_seg.api.media_types import JSON, OCTET_STREAM
from silhouette_seg.api.open_inference.codec import BINARY_DATA, BINARY_DATA_OUTPUT, BINARY_SIZE
from silhouette_seg.api.openapi import BINARY, error_classes, request_body, schema_ref
from silhouette_seg.api.schemas import JsonModel
from silhouette_seg.spec import DATATYPES

HEADER_LENGTH = "Inference-Header-Content-Length"


class ServerMetadata(JsonModel):
    """Name, version and protocol extensions of the server."""

    name: str
    version: str
    extensions: list[str] = Field(description="Extensions of the protocol.")


class ServerLive(JsonModel):
    """Body of a successful liveness check."""

    live: bool


class ServerReady(JsonModel):
    """Body of a successful readiness check of the server."""

    ready: bool


class ModelReady(JsonModel):
    """Body of a successful readiness check of a model."""

    name: str
    ready: bool


class TensorMetadata(JsonModel):
    """Name, datatype and shape of an input or output."""

    name: str
    datatype: str
    shape: list[int] = Field(description="-1 stands for the number of rows.")


class ModelMetadata(JsonModel):
    """Versions and tensors of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InferenceError(JsonModel):
    """Body of every error below `/v2`."""

    error: str = Field(description="Description of the error.")


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the OpenAPI error responses of a route by HTTP status, each with its error codes.

    The body has no field for the code: it is the label `code` of the metrics.
    """
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
    """Returns the OpenAPI description of the path parameters `model` and `version`.

    They are no arguments of the routes, because FastAPI would then document its own 422.
    """
    descriptions = {
        "model": "Name of a model in `/v1/models`.",
        "version": "Version in the model's metadata.",
    }
    return {
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": descriptions[name],
                "schema": {"type": "string"},
            }
            for name in names
        ]
    }


_HEADER = {
    "description": "Bytes of JSON at the beginning of the body, if binary tensors follow it.",
    "schema": {"type": "integer", "minimum": 0},
}
_NAME = {"type": "string"}
_SHAPE = {"type": "array", "items": {"type": "integer"}}
_DATATYPE = {"type": "string", "enum": list(DATATYPES.values())}
_DATA = {
    "type": "array",
    "items": {},
    "description": "Row-major numbers: one list, or lists nested like the shape.",
}
_SIZED = {
    "type": "object",
    "properties": {
        BINARY_SIZE: {
            "type": "integer",
            "description": "Bytes of this input after the JSON, instead of `data`.",
        }
    },
}


def _object(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _flags(name: str, description: str) -> dict[str, Any]:
    flag = {"type": "boolean", "default": False, "description": description}
    return {"type": "object", "properties": {name: flag}}


_TENSOR = {"name": _NAME, "datatype": _DATATYPE, "shape": _SHAPE, "data": _DATA}
SCHEMAS = {
    "InferTensor": _object(["name", "datatype", "shape"], _TENSOR | {"parameters": _SIZED}),
    "InferOutput": _object(
        ["name"], {"name": _NAME, "parameters": _flags(BINARY_DATA, "Send this output in binary.")}
    ),
    "InferRequest": _object(
        ["inputs"],
        {
            "id": {"type": "string", "description": "Returned in the response."},
            "parameters": _flags(BINARY_DATA_OUTPUT, "Send outputs in binary by default."),
            "inputs": {"type": "array", "items": schema_ref("InferTensor")},
            "outputs": {
                "type": "array",
                "items": schema_ref("InferOutput"),
                "description": "Every output if absent.",
            },
        },
    ),
    "InferResponse": _object(
        ["model_name", "model_version", "outputs"],
        {
            "id": {"type": "string"},
            "model_name": _NAME,
            "model_version": {"type": "string"},
            "outputs": {"type": "array", "items": schema_ref("InferTensor")},
        },
    ),
}
"""JSON schemas of tensors and bodies by their names in the OpenAPI document."""


def describe_infer(*names: str) -> dict[str, Any]:
    """Returns the OpenAPI description of an inference request: path, header and body.

    `names` are its path parameters.
    """
    header = {"name": HEADER_LENGTH, "in": "header", "required": False, **_HEADER}
    return {
        "parameters": [*path_parameters(*names)["parameters"], header],
        "requestBody": request_body({JSON: schema_ref("InferRequest"), OCTET_STREAM: BINARY}),
    }


INFER_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The outputs as JSON, followed by the binary tensors that were requested.",
        "headers": {HEADER_LENGTH: _HEADER},
        "content": {
            JSON: {"schema": schema_ref("InferResponse")},
            OCTET_STREAM: {"schema": BINARY},
        },
    },
    **error_responses(400, 401, 404, 408, 413, 415, 500, 503, 504),
}
