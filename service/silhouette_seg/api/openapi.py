"""What OpenAPI says about `POST /v1/segment`: binary bodies both ways, and every refusal."""

from typing import Any

from silhouette_seg.api.problem_details import MEDIA_TYPE
from silhouette_seg.api.request.parameters import PARAMETERS
from silhouette_seg.api.request.uploads import BACKGROUND_FIELD
from silhouette_seg.api.schemas import Problem, Report
from silhouette_seg.errors import ServiceError
from silhouette_seg.vision.codec.decode import ImageFormat

BINARY: dict[str, Any] = {"type": "string", "format": "binary"}

RESPONSE_HEADERS = {
    "X-Request-Id": "The request id that was sent, or a new one.",
    "Server-Timing": "Milliseconds of decode, route, queue, infer, post and encode.",
    "X-Model": "The model that ran.",
    "X-Model-Digest": "`sha256:` and the hash of its file.",
    "X-Backend": "The execution provider that really ran it.",
    "X-Domain": "The domain that the photo was segmented in, where the model takes one.",
    "X-Face-Ratio": "Share of the photo that its dominant face covers, 0..1, where the domain "
    "follows from it; 0 without a face.",
    "X-Foreground": "`present` or `none`.",
    "X-Foreground-Top": "Where the person is, in pixels of the upright photo.",
    "X-Foreground-Left": "As above.",
    "X-Foreground-Width": "As above.",
    "X-Foreground-Height": "As above.",
    "X-Mask-Coverage": "Share of the photo that is person, 0..1; this and what follows of the mask "
    "that the model gave, before any parameter changed it.",
    "X-Mask-Connectivity": "Share of the person in its largest piece, and the number of pieces: "
    "`0.9931;islands=2`.",
    "X-Mask-Confidence": "Share of the pixels along the outline that is expected to be right, "
    "0..1.",
    "ETag": "Of content, parameters and model; send it back as If-None-Match.",
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem answers of a route, by status, with the codes they may carry."""
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in _codes(status)),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def _codes(status: int) -> list[str]:
    return sorted({kind.code for kind in error_classes() if kind.status == status})


def error_classes() -> list[type[ServiceError]]:
    """Every kind of ServiceError, the tree flattened."""
    kinds: list[type[ServiceError]] = []
    level: list[type[ServiceError]] = [ServiceError]
    while level:
        kinds += level
        level = [below for kind in level for below in kind.__subclasses__()]
    return kinds


def _form() -> dict[str, Any]:
    files = {
        "image": BINARY | {"description": "The photo; `image_file` and `file` do as well."},
        BACKGROUND_FIELD: BINARY | {"description": "The background of a composite."},
    }
    fields = {
        name: known.schema | {"description": known.description}
        for name, known in PARAMETERS.items()
    }
    return {
        "type": "object",
        "required": ["image"],
        "properties": files | fields,
        "additionalProperties": False,
    }


REQUEST: dict[str, Any] = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": known.description,
            "schema": known.schema,
        }
        for name, known in PARAMETERS.items()
    ],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _form()},
            **{made.media_type: {"schema": BINARY} for made in ImageFormat},
        },
    },
}

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The mask, cut-out or composite, or a report that holds it.",
        "model": Report,
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in RESPONSE_HEADERS.items()
        },
        "content": {
            made.media_type: {"schema": BINARY}
            for made in (ImageFormat.PNG, ImageFormat.WEBP, ImageFormat.JPEG)
        },
    },
    304: {"description": "What If-None-Match names would be the answer again."},
    **problem_responses(400, 401, 404, 406, 408, 413, 415, 422, 500, 503, 504),
}

SCHEMAS = {"Problem": Problem.model_json_schema()}
"""Components that no route names as its model."""
