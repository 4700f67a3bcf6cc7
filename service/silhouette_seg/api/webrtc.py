"""`POST /v1/webrtc`: an SDP offer in, the answer out; the camera comes back processed.

The conventions are those of WHIP (RFC 9725), but video is answered with video.
"""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.security.utils import get_authorization_scheme_param
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from silhouette_seg.api.gateway import Gateway, gateway_of
from silhouette_seg.api.openapi import problem_responses
from silhouette_seg.api.request.body import read_body
from silhouette_seg.api.request.stream_parameters import (
    BACKGROUND_IMAGE,
    STREAM_PARAMETERS,
    effective_options,
    parse_stream_options,
)
from silhouette_seg.errors import (
    BadParameter,
    DeadlineExceeded,
    MalformedBody,
    NotAcceptable,
    UnknownParameter,
)
from silhouette_seg.pipeline.options import Output
from silhouette_seg.streaming.protocol import ProtocolError, parse_json_object
from silhouette_seg.streaming.session import StreamOptions

SDP = "application/sdp"
MAX_SDP_BYTES = 64 * 1024
JSON = "application/json"
MAX_JSON_BYTES = 64 * 1024
"""Without a picture."""
NO_CUTOUT = "Video is a composite or a mask: a cut-out is transparent, which video is not."

PARAMETERS = {name: known for name, known in STREAM_PARAMETERS.items() if name != "format"}
QUERY = tuple(name for name in PARAMETERS if name != BACKGROUND_IMAGE)

OFFER: dict[str, Any] = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": PARAMETERS[name].description,
            "schema": PARAMETERS[name].schema,
        }
        for name in QUERY
    ],
    "requestBody": {
        "required": True,
        "description": "An offer with one video track both ways (sendrecv), VP8 or H264.",
        "content": {SDP: {"schema": {"type": "string", "maxLength": MAX_SDP_BYTES}}},
    },
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "The answer, with all of its candidates.",
        "headers": {
            "Location": {
                "description": "Of the stream: PATCH changes it and DELETE ends it.",
                "schema": {"type": "string"},
            }
        },
        "content": {SDP: {"schema": {"type": "string"}}},
    },
    **problem_responses(400, 401, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504),
}
# Not arguments of the routes: FastAPI would describe a refusal of its own for them.
STREAM: dict[str, Any] = {
    "parameters": [
        {
            "name": "id",
            "in": "path",
            "required": True,
            "description": "As in `Location`.",
            "schema": {"type": "string"},
        }
    ]
}
CHANGE: dict[str, Any] = STREAM | {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "properties": {
                        name: known.schema | {"description": known.description}
                        for name, known in PARAMETERS.items()
                    },
                    "additionalProperties": False,
                }
            }
        },
    }
}
CHANGED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "All options as they hold from the next frame on.",
        "content": {JSON: {"schema": {"type": "object"}}},
    },
    **problem_responses(400, 401, 404, 406, 408, 413, 415, 422, 500, 503),
}

router = APIRouter(prefix="/v1/webrtc", tags=["webrtc"])


@router.post(
    "",
    summary="Begin a stream",
    status_code=201,
    responses=RESPONSES,
    openapi_extra=OFFER,
    response_class=Response,
)
async def begin_stream(request: Request) -> Response:
    """Takes an offer whose video comes back as a composite, or with `output=mask` as a grey mask.

    Candidates are not trickled: send an offer, with or without candidates, and take the answer
    with all of ours. A stream ends with its connection, with DELETE, and without frames.
    """
    gateway = gateway_of(request)
    gateway.check_ready()
    caller = _caller(request, gateway)
    options = await _options(_query(request), gateway, None)
    with gateway.requests.admit(), gateway.body_memory.reservation() as reserve:
        body = await read_body(
            request,
            SDP,
            limit=MAX_SDP_BYTES,
            timeout_s=gateway.upload_limits.read_timeout_s,
            reserve=reserve,
        )
        offer = _text(body)
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
    responses=CHANGED,
    openapi_extra=CHANGE,
    response_class=Response,
)
async def change_stream(request: Request) -> Response:
    """Changes the options that are named, from the next frame on; a picture goes in base64."""
    gateway = gateway_of(request)
    session = gateway.webrtc.get(request.path_params["id"])
    with gateway.body_memory.reservation() as reserve:
        body = await read_body(
            request,
            JSON,
            limit=MAX_JSON_BYTES + -(-gateway.image_limits.bytes // 3) * 4,
            timeout_s=gateway.upload_limits.read_timeout_s,
            reserve=reserve,
        )
        given = await gateway.stream_pool.run_in_thread(_object, body)
        while True:
            before = session.options
            options = await _options(given, gateway, before)
            if session.options is before:  # or somebody else changed it meanwhile
                break
    session.configure(options)
    return JSONResponse(_shown(options))


@router.delete(
    "/{id}",
    summary="End a stream",
    status_code=204,
    responses=problem_responses(401, 404, 500),
    openapi_extra=STREAM,
    response_class=Response,
)
async def end_stream(request: Request) -> Response:
    """Answers when its place is free. A page that is left sends it with `keepalive`."""
    await gateway_of(request).webrtc.end(request.path_params["id"])
    return Response(status_code=204)


def _caller(request: Request, gateway: Gateway) -> str:
    scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
    bearer = token if scheme.lower() == "bearer" else None
    address = request.client.host if request.client else ""
    return gateway.keyring.identify(bearer, request.headers.get("x-api-key"), address)


def _query(request: Request) -> dict[str, object]:
    """Raises BadParameter for what is given twice, and UnknownParameter for what only JSON has."""
    given: dict[str, object] = {}
    for name, value in request.query_params.multi_items():
        if name == BACKGROUND_IMAGE:
            raise UnknownParameter(f"{BACKGROUND_IMAGE} goes with PATCH, as JSON")
        if name in given:
            raise BadParameter(f"{name[:80]}: is given twice")
        given[name] = value
    return given


async def _options(
    given: dict[str, object], gateway: Gateway, before: StreamOptions | None
) -> StreamOptions:
    if "format" in given:
        raise UnknownParameter(f"format is not a parameter of video; there are {', '.join(QUERY)}.")
    if given.get("output") is None and (before is None or "output" in given):
        given = given | {"output": Output.COMPOSITE.value}  # the default, of video
    options = await parse_stream_options(given, gateway, before)
    if options.render.output is Output.CUTOUT:
        raise NotAcceptable(NO_CUTOUT)
    return options


def _shown(options: StreamOptions) -> dict[str, object]:
    return {name: value for name, value in effective_options(options).items() if name != "format"}


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise MalformedBody("The offer is not UTF-8.") from None


def _object(body: bytes) -> dict[str, object]:
    try:
        return parse_json_object(body.decode())
    except UnicodeDecodeError:
        raise MalformedBody("The body is not UTF-8.") from None
    except ProtocolError as error:
        raise MalformedBody(f"The body cannot be used: {error}.") from None
