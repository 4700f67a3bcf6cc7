"""`POST /v1/segment`: one photo in; a mask, cut-out, composite or report out."""

import hashlib
from time import perf_counter

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from silhouette_seg.api import openapi
from silhouette_seg.api.gateway import Parts, parts_of
from silhouette_seg.api.photo_response import Order, answer, job_of, source, understand
from silhouette_seg.api.request.disconnect import while_connected
from silhouette_seg.api.request.parameters import collect
from silhouette_seg.api.request.uploads import Intake, read_intake

router = APIRouter(tags=["segment"])

EXPOSED_HEADERS = (
    "ETag",
    "Retry-After",
    "Server-Timing",
    "WWW-Authenticate",
    "X-Backend",
    "X-Domain",
    "X-Face-Ratio",
    "X-Foreground",
    "X-Foreground-Height",
    "X-Foreground-Left",
    "X-Foreground-Top",
    "X-Foreground-Width",
    "X-Mask-Confidence",
    "X-Mask-Connectivity",
    "X-Mask-Coverage",
    "X-Model",
    "X-Model-Digest",
    "X-Request-Id",
)
"""What a page of another origin may read."""


@router.post("/segment", include_in_schema=False)
@router.post(
    "/v1/segment",
    summary="Segment a photo",
    responses=openapi.ANSWERS,
    openapi_extra=openapi.REQUEST,
    response_class=Response,
)
async def segment(request: Request) -> Response:
    """Finds the person in a photo.

    Send the photo as the body with `Content-Type: image/*`, or as the field `image` of a form.
    Parameters are query parameters or form fields. The answer is an image, or with
    `Accept: application/json` a report that holds the image as base64. A photo without a person
    is not an error: the mask is empty and `X-Foreground` is `none`. The request changes nothing
    on the server and may be repeated.
    """
    arrived = perf_counter()
    parts = parts_of(request)
    parts.check_room()
    query = collect(request.query_params.multi_items())
    with parts.requests.admit(), parts.bodies.lease() as take:
        intake = await read_intake(request, parts.intake_limits, take)
        order = understand(
            collect(query.items(), intake.fields),
            parts,
            accept=request.headers.get("accept"),
            has_picture=intake.background is not None,
        )
        headers = {"ETag": _etag(parts, intake, order), "Vary": "Accept"}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        photo = source(intake.image, parts.image_limits)
        picture = source(intake.background, parts.image_limits) if intake.background else None
        job = job_of(order, photo, picture)
        done = await while_connected(
            request,
            answer(parts, order, job),
            timeout_s=max(0.0, parts.timeouts.request_s - (perf_counter() - arrived)),
        )
    return Response(done.body, headers=headers | done.headers, media_type=done.media_type)


def _etag(parts: Parts, intake: Intake, order: Order) -> str:
    segmenter = order.segmenter
    made_of = (
        parts.version,
        intake.image.digest,
        intake.background and intake.background.digest,
        order.options.look,
        order.options.domain,
        order.representation,
        segmenter.spec.name,
        segmenter.digest,
        segmenter.faces and segmenter.faces.spec.sha256,
    )
    return f'"{hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]}"'
