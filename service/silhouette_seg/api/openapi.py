"""OpenAPI description of `POST /v1/segment`, and functions that describe other routes.

It covers parameters, binary bodies, response headers and all errors.
"""

from collections.abc import Mapping
from typing import Any

from silhouette_seg.api.media_types import FORM_DATA, JSON, PROBLEM_JSON
from silhouette_seg.api.request.parameters import PARAMETERS, Parameter
from silhouette_seg.api.request.uploads import BACKGROUND_FIELD
from silhouette_seg.api.schemas import Problem, Report
from silhouette_seg.errors import ServiceError
from silhouette_seg.vision.codec.decode import ImageFormat

BINARY: dict[str, Any] = {"type": "string", "format": "binary"}

RESPONSE_HEADERS = {
    "X-Request-Id": "Request id of the client, or a new one.",
    "Server-Timing": "Milliseconds of decode, route, queue, infer, post and encode.",
    "X-Model": "Name of the model that ran.",
    "X-Model-Digest": "`sha256:` and the hash of the model file.",
    "X-Backend": "Execution provider that ran the model.",
    "X-Domain": "Distance of the person, from `far_shot` to `head_shot`, or `no_face`, for models "
    "with a domain input, and for requests that search for faces.",
    "X-Face-Ratio": "Share of the photo that its dominant face covers, 0..1, if the domain "
    "was derived from it; 0 without a face.",
    "X-Faces-Blurred": "Number of faces that `background=blur_faces` blurred; 0 if none was found. "
    "Absent otherwise.",
    "X-Foreground": "`present` if the photo shows a person, else `none`.",
    "X-Foreground-Doubtful": "`true` if the person may be an animal or an object, as its outline "
    "is uncertain. Absent otherwise.",
    "X-Foreground-Top": "Top edge of the person's box, in pixels of the upright photo.",
    "X-Foreground-Left": "Left edge of that box, in pixels.",
    "X-Foreground-Width": "Width of that box, in pixels.",
    "X-Foreground-Height": "Height of that box, in pixels.",
    "X-Mask-Coverage": "Share of the photo that is person, 0..1. This and the next two describe "
    "the mask of the model, before parameters change it.",
    "X-Mask-Connectivity": "Share of the person in the largest connected piece, 0..1, and the "
    "number of pieces: `0.9931;islands=2`.",
    "X-Mask-Confidence": "Expected share of correct pixels along the outline, 0..1.",
    "X-Input-Warning": "Fault of the photo or background file that costs no pixel, such as a JPEG "
    "without its end marker, or metadata that is too long to keep. It is absent for a faultless "
    "file.",
    "ETag": "Hash of content, parameters and model, for If-None-Match.",
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the OpenAPI error responses of a route by HTTP status.

    Each lists the error codes of its status, and refers to the schema of a problem document.
    """
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in _codes(status)),
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def _codes(status: int) -> list[str]:
    return sorted({cls.code for cls in error_classes() if cls.status == status})


def query_parameters(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
    """Returns the OpenAPI descriptions of optional query parameters."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": parameter.description,
            "schema": parameter.schema,
        }
        for name, parameter in parameters.items()
    ]


def schema_properties(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Returns the JSON schema of each parameter by name, as the properties of a form or object."""
    return {
        name: parameter.schema | {"description": parameter.description}
        for name, parameter in parameters.items()
    }


def error_classes() -> list[type[ServiceError]]:
    """Returns the class ServiceError and all its subclasses, superclasses first."""
    classes: list[type[ServiceError]] = []
    level: list[type[ServiceError]] = [ServiceError]
    while level:
        classes += level
        level = [subclass for cls in level for subclass in cls.__subclasses__()]
    return classes


def _form() -> dict[str, Any]:
    files = {
        "image": BINARY | {"description": "The photo. `image_file` and `file` are accepted, too."},
        BACKGROUND_FIELD: BINARY | {"description": "Background of a composite."},
    }
    return {
        "type": "object",
        "required": ["image"],
        "properties": files | schema_properties(PARAMETERS),
        "additionalProperties": False,
    }


def _json_object() -> dict[str, Any]:
    encoded = {"type": "string", "contentEncoding": "base64"}
    images = {
        "image": encoded | {"description": "The photo in base64, or as a data URL."},
        BACKGROUND_FIELD: encoded | {"description": "Background of a composite."},
    }
    return {
        "type": "object",
        "required": ["image"],
        "properties": images | schema_properties(PARAMETERS),
        "additionalProperties": False,
    }


REQUEST: dict[str, Any] = {
    "parameters": query_parameters(PARAMETERS),
    "requestBody": {
        "required": True,
        "content": {
            FORM_DATA: {"schema": _form()},
            JSON: {"schema": _json_object()},
            **{image_format.media_type: {"schema": BINARY} for image_format in ImageFormat},
        },
    },
}

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The mask, trimap, cut-out or composite, or a report that contains it.",
        "model": Report,
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in RESPONSE_HEADERS.items()
        },
        "content": {image_format.media_type: {"schema": BINARY} for image_format in ImageFormat},
    },
    304: {"description": "The response would be the one that If-None-Match names."},
    **problem_responses(400, 401, 404, 406, 408, 413, 415, 422, 500, 503, 504),
}

SCHEMAS = {"Problem": Problem.model_json_schema()}
"""JSON schemas by name that error responses refer to, although no route declares them."""
