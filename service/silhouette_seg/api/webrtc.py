"""`/v1/webrtc`: starts, changes and ends WebRTC streams that return a camera's video segmented.

The conventions are those of WHIP (RFC 9725), except that the server sends video back.
"""

import asyncio
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from silhouette_seg.api.gateway import Gateway, gateway_of
from silhouette_seg.api.media_types import JSON, SDP
from silhouette_seg.api.openapi import (
    object_schema,
    problem_responses,
    query_parameters,
    request_body,
    schema_properties,
    schema_ref,
)
from silhouette_seg.api.request.body import read_body
from silhouette_seg.api.request.credentials import read_credentials
from silhouette_seg.api.request.parameters import BACKGROUND_IMAGE, unique_values
from silhouette_seg.api.request.stream_parameters import (
    STREAM_PARAMETERS,
    effective_options,
    effective_schemas,
)
from silhouette_seg.errors import (
    DeadlineExceeded,
    MalformedBody,
    NotAcceptable,
    UnknownParameter,
)
from silhouette_seg.pipeline.options import Output
from silhouette_seg.streaming.protocol import ProtocolError, parse_json_object
from silhouette_seg.streaming.session import StreamOptions

MAX_SDP_BYTES = 64 * 1024
MAX_JSON_BYTES = 64 * 1024
"""Largest JSON body of a PATCH request in bytes, without the background image."""
NO_CUTOUT = "Video can be a composite or a mask. It has no transparency for a cut-out."

DEFAULT_OUTPUT = Output.COMPOSITE
VIDEO_OUTPUTS = (DEFAULT_OUTPUT, Output.MASK)
PARAMETERS = {name: p for name, p in STREAM_PARAMETERS.items() if name != "format"} | {
    "output": replace(
        STREAM_PARAMETERS["output"],
        schema={"type": "string", "enum": list(VIDEO_OUTPUTS), "default": DEFAULT_OUTPUT},
        description="`composite` on a background, or `mask` as grey video.",
    )
}
QUERY_PARAMETERS = {name: p for name, p in PARAMETERS.items() if name != BACKGROUND_IMAGE}

OFFER_REQUEST: dict[str, Any] = {
    "parameters": query_parameters(QUERY_PARAMETERS),
    "requestBody": {
        "required": True,
        "description": "An offer with one video track in both directions (sendrecv), VP8 or H264.",
        "content": {SDP: {"schema": {"type": "string", "maxLength": MAX_SDP_BYTES}}},
    },
}
OFFER_RESPONSES: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "The answer, with all candidates of the server.",
        "headers": {
            "Location": {
                "description": "Path of the stream: PATCH changes it and DELETE ends it.",
                "schema": {"type": "string"},
            }
        },
        "content": {SDP: {"schema": {"type": "string"}}},
    },
    **problem_responses(400, 401, 404, 406, 408, 413, 415, 422, 429, 500, 501, 503, 504),
}
# These are not arguments of the routes: FastAPI would document its own 422 for them.
STREAM_REQUEST: dict[str, Any] = {
    "parameters": [
        {
            "name": "id",
            "in": "path",
            "required": True,
            "description": "Id of the stream, as in `Location`.",
            "schema": {"type": "string"},
        }
    ]
}
CHANGE_REQUEST: dict[str, Any] = STREAM_REQUEST | {
    "requestBody": request_body({JSON: schema_ref("StreamChanges")})
}
CHANGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "All options that apply from the next frame on.",
        "content": {JSON: {"schema": schema_ref("VideoOptions")}},
    },
    **problem_responses(400, 401, 404, 406, 408, 413, 415, 422, 500, 503),
}
SCHEMAS = {
    "StreamChanges": object_schema([], schema_properties(PARAMETERS)),
    "VideoOptions": object_schema(list(QUERY_PARAMETERS), effective_schemas(QUERY_PARAMETERS)),
}
"""JSON schemas by name: the options that a client changes, and all options in effect."""

router = APIRouter(prefix="/v1/webrtc", tags=["webrtc"])


@router.post(
    "",
    summary="Start a stream",
    status_code=201,
    responses=OFFER_RESPONSES,
    openapi_extra=OFFER_REQUEST,
    response_class=Response,
)
async def begin_stream(request: Request) -> Response:
    """Answers an SDP offer. The video comes back as a composite, or with `output=mask` as a mask.

    There is no trickle ICE: send an offer with or without candidates, and the answer contains all
    candidates of the server. A stream ends when its connection closes, after DELETE, or after
    some seconds without a frame.
    """
    gateway = gateway_of(request)
    gateway.check_started()
    caller = gateway.identify(read_credentials(request))
    options = await _parse_options(_query(request), gateway, None)
    with gateway.requests.admit(), gateway.body_memory.reservation() as reserve:
        body = await read_body(
            request,
            SDP,
            max_bytes=MAX_SDP_BYTES,
            timeout_s=gateway.upload_limits.read_timeout_s,
            reserve=reserve,
        )
        offer = _decode_offer(body)
        try:
            async with asyncio.timeout(gateway.timeouts.request_s):
                id, answer = await gateway.webrtc.accept(offer, options, caller)
        except TimeoutError:
            limit = gateway.timeouts.request_s
            raise DeadlineExceeded("The answer was not ready in time.", limit=limit) from None
    return Response(answer, 201, {"Location": f"/v1/webrtc/{id}"}, media_type=SDP)


@router.patch(
    "/{id}",
    summary="Change a stream",
    responses=CHANGE_RESPONSES,
    openapi_extra=CHANGE_REQUEST,
    response_class=Response,
)
async def change_stream(request: Request) -> Response:
    """Changes the options in the JSON body from the next frame on; the others stay.

    A background image is base64. The response has all options in effect.
    """
    gateway, id = gateway_of(request), request.path_params["id"]
    forwarder = gateway.forwarder
    owner = forwarder.owner_of(id) if forwarder else None
    if owner is None:
        session = gateway.webrtc.get(id)
    with gateway.body_memory.reservation() as reserve:
        body = await read_body(
            request,
            JSON,
            max_bytes=MAX_JSON_BYTES + _base64_bytes(gateway.image_limits.bytes),
            timeout_s=gateway.upload_limits.read_timeout_s,
            reserve=reserve,
        )
        if forwarder and owner is not None:
            return await forwarder.forward(request, owner, body)
        changes = await gateway.stream_pool.run_in_thread(_parse_object, body)
        while True:
            current = session.options
            options = await _parse_options(changes, gateway, current)
            if session.options is current:  # no other request changed them meanwhile
                break
    gateway.webrtc.configure(id, options)
    return JSONResponse(_described(options))


@router.delete(
    "/{id}",
    summary="End a stream",
    status_code=204,
    responses=problem_responses(401, 404, 500, 503),
    openapi_extra=STREAM_REQUEST,
    response_class=Response,
)
async def end_stream(request: Request) -> Response:
    """Ends a stream, and answers 204 once it no longer counts towards the limits.

    Pages send the request with `keepalive` when they unload.
    """
    gateway, id = gateway_of(request), request.path_params["id"]
    if gateway.forwarder and (owner := gateway.forwarder.owner_of(id)) is not None:
        return await gateway.forwarder.forward(request, owner)
    await gateway.webrtc.end(id)
    return Response(status_code=204)


def _query(request: Request) -> dict[str, object]:
    """Returns the query parameters of a request by name, without empty ones.

    Raises UnknownParameter for `background_image`, which only a PATCH request has, and BadParameter
    for a name with two values.
    """
    pairs = request.query_params.multi_items()
    if BACKGROUND_IMAGE in request.query_params:
        raise UnknownParameter(f"{BACKGROUND_IMAGE} goes with PATCH, as JSON")
    return dict(unique_values((name, value) for name, value in pairs if value))


async def _parse_options(
    parameters: dict[str, object], gateway: Gateway, current: StreamOptions | None
) -> StreamOptions:
    if "format" in parameters:
        names = ", ".join(QUERY_PARAMETERS)
        raise UnknownParameter(f"format is not a parameter of video; there are {names}.")
    if parameters.get("output") is None and (current is None or "output" in parameters):
        parameters = parameters | {"output": DEFAULT_OUTPUT.value}
    options = await gateway.stream_options.parse(parameters, current)
    if options.render.output not in VIDEO_OUTPUTS:
        raise NotAcceptable(NO_CUTOUT)
    return options


def _described(options: StreamOptions) -> dict[str, object]:
    return {name: value for name, value in effective_options(options).items() if name != "format"}


def _decode_offer(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise MalformedBody("The offer is not UTF-8.") from None


def _parse_object(body: bytes) -> dict[str, object]:
    try:
        return parse_json_object(body.decode())
    except UnicodeDecodeError:
        raise MalformedBody("The body is not UTF-8.") from None
    except ProtocolError as error:
        raise MalformedBody(f"The body cannot be used: {error}.") from None


def _base64_bytes(size: int) -> int:
    """Returns the number of characters of `size` bytes in base64."""
    return -(-size // 3) * 4
