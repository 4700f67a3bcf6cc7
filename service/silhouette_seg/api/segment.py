"""`POST /v1/segment`: turns one photo into a mask, cut-out, composite or report."""

from time import perf_counter

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from silhouette_seg.api import openapi
from silhouette_seg.api.gateway import gateway_of
from silhouette_seg.api.photo_response import (
    build_job,
    read_image_file,
    resolve,
    respond,
)
from silhouette_seg.api.request.disconnect import run_until_disconnect
from silhouette_seg.api.request.parameters import merge_parameters
from silhouette_seg.api.request.uploads import read_photo_upload
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
    responses=openapi.RESPONSES,
    openapi_extra=openapi.REQUEST,
    response_class=Response,
)
async def segment(request: Request) -> Response:
    """Finds the person in a photo.

    Send the photo as the body with `Content-Type: image/*`, as the field `image` of a form, or in
    base64 as the member `image` of a JSON object. Parameters are query parameters, form fields or
    members of the object. The response is an image. With
    `Accept: application/json` it is a report that contains the image as base64. A photo without a
    person is not an error: the mask is empty and `X-Foreground` is `none`. The request changes
    nothing on the server and can be repeated.
    """
    arrived = perf_counter()
    gateway = gateway_of(request)
    gateway.check_capacity()
    query = merge_parameters(request.query_params.multi_items())
    with gateway.requests.admit(), gateway.body_memory.reservation() as reserve:
        upload = await read_photo_upload(
            request, gateway.upload_limits, reserve, gateway.photo_pool
        )
        resolved = resolve(
            merge_parameters(query.items(), upload.fields),
            gateway,
            accept=request.headers.get("accept"),
            has_background_image=upload.background is not None,
        )
        headers = {"ETag": photo_etag(gateway.version, upload, resolved), "Vary": "Accept"}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        photo = read_image_file(upload.image, gateway.image_limits)
        background = (
            read_image_file(upload.background, gateway.image_limits) if upload.background else None
        )
        job = build_job(resolved, photo, background)
        result = await run_until_disconnect(
            request,
            respond(gateway, resolved, job),
            timeout_s=gateway.timeouts.remaining_s(arrived),
        )
    return Response(result.body, headers=headers | result.headers, media_type=result.media_type)
