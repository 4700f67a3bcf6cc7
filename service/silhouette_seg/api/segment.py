"""`POST /v1/segment`: turns one photo into a mask, cut-out, composite or report.

Three more paths take one kind of body, or return the report, so that OpenAPI can describe each.
"""

from time import perf_counter

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from silhouette_seg.api import openapi
from silhouette_seg.api.gateway import gateway_of
from silhouette_seg.api.media_types import JSON
from silhouette_seg.api.photo_response import (
    build_job,
    read_background_file,
    read_image_file,
    resolve,
    respond,
)
from silhouette_seg.api.request.disconnect import run_until_disconnect
from silhouette_seg.api.request.parameters import merge_parameters
from silhouette_seg.api.request.uploads import BodyKind, read_photo_upload
from silhouette_seg.api.response.etag import photo_etag

router = APIRouter(tags=["segment"])

EXPOSED_HEADERS = (
    "ETag",
    "Retry-After",
    "Server-Timing",
    "WWW-Authenticate",
    "X-Backend",
    "X-Domain",
    "X-Face-Ratio",
    "X-Faces-Blurred",
    "X-Foreground",
    "X-Foreground-Doubtful",
    "X-Foreground-Height",
    "X-Foreground-Left",
    "X-Foreground-Top",
    "X-Foreground-Width",
    "X-Input-Warning",
    "X-Mask-Confidence",
    "X-Mask-Connectivity",
    "X-Mask-Coverage",
    "X-Model",
    "X-Model-Digest",
    "X-Request-Id",
)
"""Names of the response headers that CORS lets pages of other origins read."""


@router.post("/segment", include_in_schema=False)
@router.post(
    "/v1/segment",
    summary="Segment a photo",
    responses=openapi.IMAGE_RESPONSES,
    openapi_extra=openapi.FORM_REQUEST,
    response_class=Response,
)
async def segment(request: Request) -> Response:
    """Finds the person in a photo, and returns the mask, the cut-out or a composite.

    Send the photo as the field `image` of a form, and parameters as further fields. A photo without
    a person is not an error: the mask is empty and `X-Foreground` is `none`. The request changes
    nothing on the server and can be repeated.

    The path also takes the bodies of `POST /v1/segment/binary` and `POST /v1/segment/json`, and
    parameters in the query. A parameter that has two different values is rejected.
    """
    return await _segment(request, accept=request.headers.get("accept"))


@router.post(
    "/v1/segment/binary",
    summary="Segment a photo that is the whole body",
    responses=openapi.IMAGE_RESPONSES,
    openapi_extra=openapi.BINARY_REQUEST,
    response_class=Response,
)
async def segment_binary(request: Request) -> Response:
    """Finds the person in a photo, as `POST /v1/segment` does.

    Send the bytes of the photo as the body, and parameters in the query. The Content-Type may be
    that of any image: the content decides.
    """
    return await _segment(request, only=BodyKind.BINARY, accept=request.headers.get("accept"))


@router.post(
    "/v1/segment/json",
    summary="Segment a photo in base64",
    responses=openapi.REPORT_RESPONSES,
    openapi_extra=openapi.JSON_REQUEST,
    response_class=Response,
)
async def segment_json(request: Request) -> Response:
    """Finds the person in a photo of a JSON object, and returns a report with the result.

    Send the photo in base64 as the member `image`, and parameters as further members. The report
    contains the mask, cut-out or composite in base64.
    """
    return await _segment(request, only=BodyKind.JSON, accept=JSON)


@router.post(
    "/v1/segment/report",
    summary="Report on a photo",
    responses=openapi.REPORT_RESPONSES,
    openapi_extra=openapi.FORM_REQUEST,
    response_class=Response,
)
async def segment_report(request: Request) -> Response:
    """Finds the person in a photo, and returns a report on the person, the mask and the times.

    Send the form of `POST /v1/segment`. The report contains the mask, cut-out or composite in
    base64.
    """
    return await _segment(request, only=BodyKind.FORM, accept=JSON)


async def _segment(
    request: Request, *, only: BodyKind | None = None, accept: str | None
) -> Response:
    """Segments the photo of a request.

    `only` is the kind of body that the route takes, None for all kinds. `accept` is the `Accept`
    header that chooses between an image and a report.
    """
    arrived = perf_counter()
    gateway = gateway_of(request)
    gateway.check_capacity()
    query = merge_parameters(request.query_params.multi_items())
    with gateway.requests.admit(), gateway.body_memory.reservation() as reserve:
        upload = await read_photo_upload(
            request, gateway.upload_limits, reserve, gateway.photo_pool, only=only
        )
        resolved = resolve(
            merge_parameters(query.items(), upload.fields),
            gateway,
            accept=accept,
            has_background_image=upload.background is not None,
        )
        headers = {"ETag": photo_etag(gateway.version, upload, resolved), "Vary": "Accept"}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        photo = read_image_file(upload.image, gateway.image_limits)
        background = read_background_file(upload.background, gateway.image_limits)
        job = build_job(resolved, photo, background)
        result = await run_until_disconnect(
            request,
            respond(gateway, resolved, job),
            timeout_s=gateway.timeouts.remaining_s(arrived),
        )
    return Response(result.body, headers=headers | result.headers, media_type=result.media_type)
