"""OpenAPI descriptions of the routes for photos, and functions that describe other routes.

Every operation takes one kind of body, returns one kind of result, and declares each parameter
once. Generators of clients rely on that. Names, defaults and ranges come from the table of the
parameters.
"""

from collections.abc import Mapping
from typing import Any

from fastapi.routing import APIRoute

from silhouette_seg.api.examples import add_examples
from silhouette_seg.api.media_types import FORM_DATA, JSON, OCTET_STREAM, PROBLEM_JSON
from silhouette_seg.api.problem_details import TYPE_PREFIX
from silhouette_seg.api.request.negotiation import DEFAULT_ORDER
from silhouette_seg.api.request.parameters import BACKGROUND_IMAGE, PARAMETERS, Parameter
from silhouette_seg.api.schemas import Problem, Report
from silhouette_seg.errors import ServiceError

BINARY: dict[str, Any] = {"type": "string", "format": "binary"}

DESCRIPTION = """
`POST /v1/segment` takes a photo and returns the mask of its person, a cut-out or a composite.

- An error is `application/problem+json` (RFC 9457). Programs should compare its `code`. Routes
  below `/v1.0` and `/v2` have the error shapes of their own APIs.
- If the service has API keys, send one as `Authorization: Bearer` or as `X-Api-Key`.
- The AsyncAPI document `/asyncapi.json` describes the WebSocket for live video.
"""
"""Introduction to the API, in Markdown."""
TAGS = [
    {"name": "segment", "description": "Photos in; masks, cut-outs, composites and reports out."},
    {"name": "models", "description": "The served models, limits, formats and parameters."},
    {"name": "webrtc", "description": "Live video over WebRTC."},
    {"name": "health", "description": "Liveness, readiness and metrics."},
    {"name": "remove.bg", "description": "Routes for clients of remove.bg."},
    {"name": "rembg", "description": "The route for clients of rembg's server."},
    {"name": "inference", "description": "The Open Inference Protocol: tensors in, tensors out."},
]
"""Groups of operations in the order in which a page shows them."""

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
    "X-Mask-Confidence": "Expected share of correct pixels along the outline, 0..1. Absent for a "
    "mask without an outline, such as an empty one.",
    "X-Input-Warning": "Fault of the photo or background file that costs no pixel, such as a JPEG "
    "without its end marker, or metadata that is too long to keep. It also says if "
    "`person=dominant` had no face detector. It is absent otherwise.",
    "ETag": "Hash of content, parameters and model, for If-None-Match.",
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the OpenAPI error responses of a route by HTTP status.

    Each lists the error codes of its status, and refers to the schema of a problem document and
    to an example of each code.
    """
    return {status: _problem_response(status) for status in statuses}


def _problem_response(status: int) -> dict[str, Any]:
    codes = sorted({cls.code for cls in error_classes() if cls.status == status})
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "content": {PROBLEM_JSON: {"schema": schema_ref("Problem"), "examples": examples}},
    }


def problem_examples() -> dict[str, dict[str, Any]]:
    """Returns one problem document for each error code, as the OpenAPI component `examples`."""
    return {cls.code: {"summary": cls.title, "value": _problem(cls)} for cls in error_classes()}


def _problem(error: type[ServiceError]) -> dict[str, Any]:
    document = Problem(
        type=TYPE_PREFIX + error.code,
        title=error.title,
        status=error.status,
        detail=f"{error.title}.",
        instance="/v1/segment",
        code=error.code,
        request_id="6d91583dcfaad7959d9a9be6946e6be3",
        retryable=error.retryable,
    )
    return document.model_dump(exclude_none=True)


def schema_ref(name: str) -> dict[str, str]:
    """Returns the reference to a schema of the OpenAPI document."""
    return {"$ref": f"#/components/schemas/{name}"}


def operation_id(route: APIRoute) -> str:
    """Returns the id of an operation, from which generators name their functions.

    It is the name of the route's function. A path with the version of a model has its own.
    """
    return f"{route.name}_of_version" if "{version}" in route.path else route.name


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


def object_schema(required: list[str], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the JSON schema of an object that has no other members than `properties`."""
    return {
        "type": "object",
        "required": required,
        "properties": dict(properties),
        "additionalProperties": False,
    }


def request_body(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the OpenAPI description of a required request body: its schema by media type."""
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"required": True, "content": content}


def described_headers(texts: Mapping[str, str]) -> dict[str, Any]:
    """Returns the OpenAPI descriptions of response headers from their texts by name."""
    return {
        name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()
    }


def _form(image: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a form with `image`, which is one photo or many."""
    background = BINARY | {"description": "Background of a composite."}
    files = {"image": image, BACKGROUND_IMAGE: background}
    return object_schema(["image"], files | schema_properties(PARAMETERS))


def _json_object() -> dict[str, Any]:
    encoded = {"type": "string", "contentEncoding": "base64"}
    images = {
        "image": encoded | {"description": "The photo in base64, or as a data URL."},
        BACKGROUND_IMAGE: encoded | {"description": "Background of a composite."},
    }
    return object_schema(["image"], images | schema_properties(PARAMETERS))


def complete(
    document: dict[str, Any], schemas: Mapping[str, Any], *, requires_key: bool
) -> dict[str, Any]:
    """Adds to FastAPI's OpenAPI document the parts that no route declares, and returns it.

    These are the `schemas` to which routes refer, and the examples. Without `requires_key` the
    service has no keys, so no operation asks for one.
    """
    components = document["components"]
    components["schemas"].update(schemas)
    components["examples"] = problem_examples()
    for item in document["paths"].values():
        for operation in item.values():
            add_examples(operation)
            if not requires_key:
                operation.pop("security", None)
    if not requires_key:
        components.pop("securitySchemes", None)
    return document


IMAGE_CONTENT = {image_format.media_type: {"schema": BINARY} for image_format in DEFAULT_ORDER}
"""Media types of a result that is an image, in the order in which the service prefers them."""

FORM_REQUEST = {"requestBody": request_body({FORM_DATA: schema_ref("SegmentForm")})}
BATCH_REQUEST = {"requestBody": request_body({FORM_DATA: schema_ref("BatchForm")})}
JSON_REQUEST = {"requestBody": request_body({JSON: schema_ref("SegmentObject")})}
BINARY_REQUEST = {
    "parameters": query_parameters(PARAMETERS),
    "requestBody": request_body({OCTET_STREAM: BINARY, "image/*": BINARY}),
}

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The response would be the one that If-None-Match names."}
}
ERRORS = problem_responses(400, 401, 404, 406, 408, 413, 415, 422, 500, 503, 504)
IMAGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The mask, trimap, cut-out or composite. With `Accept: application/json` it "
        "is the report of `POST /v1/segment/report`.",
        "headers": described_headers(RESPONSE_HEADERS),
        "content": IMAGE_CONTENT,
    },
    **NOT_MODIFIED,
    **ERRORS,
}
REPORT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The report, which contains the image of the result in base64.",
        "headers": described_headers(RESPONSE_HEADERS),
        "model": Report,
    },
    **NOT_MODIFIED,
    **ERRORS,
}

SCHEMAS: dict[str, dict[str, Any]] = {
    "Problem": Problem.model_json_schema(),
    "SegmentForm": _form(
        BINARY | {"description": "The photo. `image_file` and `file` are accepted, too."}
    ),
    "BatchForm": _form(
        {
            "type": "array",
            "items": BINARY,
            "minItems": 1,
            "description": "The photos, in order. `image_file` and `file` are accepted, too.",
        }
    ),
    "SegmentObject": _json_object(),
}
"""JSON schemas by name to which requests and error responses refer."""
