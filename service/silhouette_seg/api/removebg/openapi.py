"""OpenAPI descriptions of the route and the errors of remove.bg's API."""

from typing import Any

from silhouette_seg.api import openapi
from silhouette_seg.api.media_types import FORM_DATA, JSON
from silhouette_seg.api.removebg.errors import codes_of_status
from silhouette_seg.api.removebg.parameters import FIELDS
from silhouette_seg.api.removebg.rendering import ZIP_MEDIA_TYPE
from silhouette_seg.api.removebg.request import BACKGROUND_FILE, IMAGE_BASE64, IMAGE_FILE
from silhouette_seg.vision.codec.decode import ImageFormat

BOX_SIDES = ("top", "left", "width", "height")
"""Sides of the person's box, in headers and in JSON results."""
HEADERS = {
    "X-Type": "Type of the foreground, always `person`.",
    "X-Width": "Width of the result in pixels.",
    "X-Height": "Height of the result in pixels.",
    "X-Max-Width": "Width of the result at `size=full`, before it is cropped.",
    "X-Max-Height": "Height of the result at `size=full`, before it is cropped.",
    "X-Foreground-Top": "Top edge of the person in the result in pixels, before it is cropped or "
    "the person is moved.",
    "X-Foreground-Left": "Left edge of the person in pixels, as for `X-Foreground-Top`.",
    "X-Foreground-Width": "Width of the person in pixels, before it is scaled.",
    "X-Foreground-Height": "Height of the person in pixels, before it is scaled.",
    "X-Input-Warning": "Fault of an input file that costs no pixel, as for `POST /v1/segment`.",
    "X-Credits-Charged": "Credits that the request cost, always 0.",
}
_TEXT = {"type": "string"}
_ERROR_STATUSES = (400, 403, 408, 415, 429, 500, 503, 504)


def _schemas() -> dict[str, dict[str, Any]]:
    fields = {
        name: {"type": "string", "default": field.default, "description": field.description}
        for name, field in FIELDS.items()
    }
    encoded = {IMAGE_BASE64: {"type": "string", "description": "The photo in base64."}}
    files = {
        IMAGE_FILE: openapi.BINARY | {"description": "The photo."},
        BACKGROUND_FILE: openapi.BINARY | {"description": "The background, scaled to cover."},
    }
    sides = {f"foreground_{side}": {"type": "integer"} for side in BOX_SIDES}
    picture = {"result_b64": _TEXT | {"description": "The picture in base64."}}
    data = openapi.object_schema(list(picture), picture | sides)
    texts = dict.fromkeys(("title", "code", "detail"), _TEXT)
    errors = {"type": "array", "items": openapi.object_schema(list(texts), texts)}
    return {
        "RemoveBgForm": openapi.object_schema([], files | encoded | fields),
        "RemoveBgResult": openapi.object_schema(["data"], {"data": data}),
        "RemoveBgErrors": openapi.object_schema(["errors"], {"errors": errors}),
    }


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the OpenAPI error responses of a route by HTTP status, in the format of remove.bg.

    Each lists the error codes of its status.
    """
    kinds = openapi.error_classes()
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in codes_of_status(kinds, status)),
            "content": {JSON: {"schema": openapi.schema_ref("RemoveBgErrors")}},
        }
        for status in statuses
    }


def _responses() -> dict[int | str, dict[str, Any]]:
    formats = (ImageFormat.JPEG, ImageFormat.PNG, ImageFormat.WEBP)
    images = (format.media_type for format in formats)
    return {
        200: {
            "description": "The picture, or JSON that contains it as base64 if `Accept` is "
            "`application/json` alone.",
            "headers": openapi.described_headers(HEADERS),
            "content": {
                **{kind: {"schema": openapi.BINARY} for kind in (*images, ZIP_MEDIA_TYPE)},
                JSON: {"schema": openapi.schema_ref("RemoveBgResult")},
            },
        },
        **error_responses(*_ERROR_STATUSES),
    }


SCHEMAS = _schemas()
"""JSON schemas of bodies by their names in the OpenAPI document."""
REQUEST = {"requestBody": openapi.request_body({FORM_DATA: openapi.schema_ref("RemoveBgForm")})}
RESPONSES = _responses()
