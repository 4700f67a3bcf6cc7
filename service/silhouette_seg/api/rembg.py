"""`POST /api/remove`: removes the background with the parameters of rembg's HTTP server.

Clients of `rembg s` work here if they change the base URL.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from time import perf_counter
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from silhouette_seg.api import openapi
from silhouette_seg.api.gateway import gateway_of
from silhouette_seg.api.media_types import FORM_DATA
from silhouette_seg.api.photo_response import build_job, read_image_file, resolve, respond
from silhouette_seg.api.request.disconnect import run_until_disconnect
from silhouette_seg.api.request.parameters import (
    MAX_NAME_CHARS,
    NO_URLS,
    URL_FIELDS,
    Parameter,
    integer_between,
    parse_boolean,
    unique_values,
)
from silhouette_seg.api.request.uploads import read_photo_upload
from silhouette_seg.errors import BadParameter, UnknownParameter
from silhouette_seg.vision.codec.decode import ImageFormat

IGNORED_HEADER = "X-Ignored-Parameters"
EXPOSED_HEADERS = (IGNORED_HEADER,)
"""Response header that CORS lets pages of other origins read, besides those of `/v1/segment`."""
MAX_EROSION = 10_000
"""Largest `ae` that is accepted, in pixels."""

_BOOLEAN = {"type": "boolean", "default": False}
_LEVEL = {"type": "integer", "minimum": 0, "maximum": 255}


def _text(text: str) -> str:
    return text


def _colour(text: str) -> str:
    """Parses `r,g,b` or `r,g,b,a`, and returns `#rrggbb`, or empty text for a transparent colour.

    Raises ValueError for other text, and for a translucent colour.
    """
    if not re.fullmatch(r"[0-9]{1,3}(,[0-9]{1,3}){2,3}", text.replace(" ", "")):
        raise ValueError("must be three or four numbers from 0 to 255, such as 255,255,255,255")
    red, green, blue, *rest = map(int, text.split(","))
    if max(red, green, blue, *rest) > 255:
        raise ValueError("must be three or four numbers from 0 to 255, such as 255,255,255,255")
    if rest and rest[0] not in (0, 255):
        raise ValueError("must be opaque (255) or transparent (0), not translucent")
    return "" if rest == [0] else f"#{red:02x}{green:02x}{blue:02x}"


PARAMETERS = {
    "model": Parameter(
        _text,
        {"type": "string"},
        "A name from `/v1/models`. The names of rembg's models are ignored.",
    ),
    "om": Parameter(parse_boolean, _BOOLEAN, "Returns only the mask."),
    "dc": Parameter(
        parse_boolean, _BOOLEAN, "Removes the colour of the old background from the edge."
    ),
    "a": Parameter(
        parse_boolean, _BOOLEAN, "Alpha matting, which here is `dc`: every edge is refined."
    ),
    "bgc": Parameter(
        _colour, {"type": "string"}, "Colour behind the person, as `r,g,b` or `r,g,b,255`."
    ),
    "af": Parameter(integer_between(0, 255), _LEVEL, "Ignored: there are no thresholds."),
    "ab": Parameter(integer_between(0, 255), _LEVEL, "Ignored: there are no thresholds."),
    "ae": Parameter(
        integer_between(0, MAX_EROSION),
        {"type": "integer", "minimum": 0, "maximum": MAX_EROSION},
        "Ignored, as `af`.",
    ),
    "ppm": Parameter(parse_boolean, _BOOLEAN, "Ignored: masks are always postprocessed."),
    "vm": Parameter(parse_boolean, _BOOLEAN, "Ignored: edges are always refined."),
    "extras": Parameter(_text, {"type": "string"}, "Ignored."),
}
"""Parameters of rembg's server, which may be in the query or in the form."""
IGNORED = ("af", "ab", "ae", "ppm", "vm", "extras")
"""Names of the parameters without a meaning here."""

router = APIRouter(tags=["rembg"])


_PHOTO = {"file": openapi.BINARY | {"description": "The photo."}}
SCHEMAS = {
    "RembgForm": openapi.object_schema(["file"], _PHOTO | openapi.schema_properties(PARAMETERS))
}
"""JSON schema of the form by its name in the OpenAPI document."""
_REQUEST = {"requestBody": openapi.request_body({FORM_DATA: openapi.schema_ref("RembgForm")})}


def _responses() -> dict[int | str, dict[str, Any]]:
    ignored = {IGNORED_HEADER: "Names of the parameters that were sent and have no effect here."}
    headers = {name: text for name, text in openapi.RESPONSE_HEADERS.items() if name != "ETag"}
    return {
        200: {
            "description": "The cut-out, its mask, or the person on a colour.",
            "headers": openapi.described_headers(headers | ignored),
            "content": {ImageFormat.PNG.media_type: {"schema": openapi.BINARY}},
        },
        **openapi.problem_responses(400, 401, 408, 413, 415, 422, 500, 503, 504),
    }


@router.post(
    "/api/remove",
    summary="Remove the background with the API of rembg",
    responses=_responses(),
    openapi_extra=_REQUEST,
    response_class=Response,
)
async def remove(request: Request) -> Response:
    """Cuts the person out of a photo, as the server of rembg does.

    The photo is the field `file` of a form, and the response is a PNG. Parameters may be in the
    query, too. Those of rembg without a meaning here are accepted, and the header
    `X-Ignored-Parameters` lists them.
    """
    arrived = perf_counter()
    gateway = gateway_of(request)
    gateway.check_capacity()
    query = request.query_params.multi_items()
    parse_parameters(query)  # an error of the query is found before the body is read
    with gateway.requests.admit(), gateway.body_memory.reservation() as reserve:
        upload = await read_photo_upload(
            request, gateway.upload_limits, reserve, gateway.photo_pool
        )
        if upload.background is not None:
            raise UnknownParameter("'background_image' is not a parameter of rembg.")
        values = parse_parameters(query, upload.fields)
        known = (*gateway.registry.names, *gateway.registry.failures)
        parameters, ignored = translate(values, known)
        resolved = resolve(parameters, gateway, accept=None, has_background_image=False)
        photo = read_image_file(upload.image, gateway.image_limits)
        result = await run_until_disconnect(
            request,
            respond(gateway, resolved, build_job(resolved, photo, None)),
            timeout_s=gateway.timeouts.remaining_s(arrived),
        )
    headers = result.headers | ({IGNORED_HEADER: ", ".join(ignored)} if ignored else {})
    return Response(result.body, headers=headers, media_type=result.media_type)


@router.get(
    "/api/remove",
    summary="Reject the URL of a photo",
    status_code=400,
    responses=openapi.problem_responses(400, 401),
    response_class=Response,
)
async def remove_from_url() -> Response:
    """Answers 400: rembg's server fetches the photo at `url`, and this service fetches nothing."""
    raise BadParameter(f"url: {NO_URLS}, as the field `file` of a form")


def parse_parameters(*sources: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Returns the parsed parameters of several sources by name. An empty text is left out.

    Raises UnknownParameter for a name that is not in `PARAMETERS`, and BadParameter for an invalid
    value or two values of one name.
    """
    pairs = list(chain.from_iterable(sources))
    for name, _ in pairs:
        if name in URL_FIELDS:
            raise UnknownParameter(f"{name}: {NO_URLS}")
        if name not in PARAMETERS:
            raise UnknownParameter(
                f"{name[:MAX_NAME_CHARS]!r} is not a parameter of rembg; there are "
                f"{', '.join(PARAMETERS)}."
            )
    texts = unique_values((name, text) for name, text in pairs if text)
    return {name: _parse_value(name, text) for name, text in texts.items()}


def translate(
    values: Mapping[str, Any], models: tuple[str, ...]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Translates parsed parameters of rembg to those of `/v1/segment`.

    `models` are the names of the served models. Returns the translation, as text by name, and the
    names of the parameters that have no effect.
    """
    parameters = {"format": ImageFormat.PNG.value, "output": "cutout"}
    ignored = [name for name in values if name in IGNORED]
    if values.get("model") in models:
        parameters["model"] = values["model"]
    elif "model" in values:
        ignored.append("model")
    if values.get("om"):
        parameters["output"] = "mask"
        ignored += [name for name in ("a", "dc", "bgc") if values.get(name)]
    elif values.get("bgc"):
        parameters |= {"output": "composite", "background": values["bgc"]}
    removes_colour = values.get("dc", False) or values.get("a", False)
    parameters["decontaminate"] = str(removes_colour).lower()
    return parameters, tuple(ignored)


def _parse_value(name: str, text: str) -> object:
    try:
        return PARAMETERS[name].parse(text)
    except ValueError as error:
        raise BadParameter(f"{name}: {error}") from None
