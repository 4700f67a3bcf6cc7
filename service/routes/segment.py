"""`POST /v1/segment`: one photo in; a mask, cut-out, composite or report out."""

import hashlib
from dataclasses import dataclass
from time import perf_counter

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.render import Job, Rendered, Source, run_job
from service.routes import describe
from service.routes.connected import while_connected
from service.routes.intake import Intake, Upload, read_intake
from service.routes.negotiate import JSON, Representation, negotiate
from service.routes.options import SegmentOptions, choose, collect, parse
from service.routes.parts import Parts, parts_of
from service.routes.report import report_json
from service.segmenter import Segmenter
from service.telemetry import IDENTITY, server_timing
from service.vision.decode import ImageLimits, check_limits, read_header

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


@dataclass(frozen=True, slots=True)
class Order:
    """A request that was understood: what to do, with which model, and how to answer."""

    options: SegmentOptions
    segmenter: Segmenter
    representation: Representation
    etag: str


@router.post("/segment", include_in_schema=False)
@router.post(
    "/v1/segment",
    summary="Segment a photo",
    responses=describe.ANSWERS,
    openapi_extra=describe.REQUEST,
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
    parts.check_ready()
    query = collect(request.query_params.multi_items())
    with parts.door.admit(0), parts.bodies.lease() as take:
        intake = await read_intake(request, parts.intake_limits, take)
        order = _understand(request, parts, intake, collect(query.items(), intake.fields))
        if order.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=_cache_headers(order))
        job = _job(intake, order, parts.image_limits)
        with parts.pixels.admit(job.pixels):
            return await while_connected(
                request,
                _answer(parts, job, order),
                timeout_s=max(0.0, parts.timeouts.request_s - (perf_counter() - arrived)),
            )


def _understand(request: Request, parts: Parts, intake: Intake, given: dict[str, str]) -> Order:
    options = parse(given, has_picture=intake.background is not None)
    segmenter = choose(options, parts.catalog)
    representation = negotiate(
        request.headers.get("accept"),
        explicit=options.format,
        transparent=options.look.transparent,
    )
    made_of = (
        parts.version,
        intake.image.digest,
        intake.background and intake.background.digest,
        options.look,
        options.domain,
        representation,
        segmenter.spec.name,
        segmenter.digest,
        segmenter.faces and segmenter.faces.spec.sha256,
    )
    etag = f'"{hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]}"'
    return Order(options, segmenter, representation, etag)


def _job(intake: Intake, order: Order, limits: ImageLimits) -> Job:
    return Job(
        photo=_source(intake.image, limits),
        look=order.options.look,
        format=order.representation.image,
        picture=_source(intake.background, limits) if intake.background else None,
        domain=order.options.domain,
    )


def _source(upload: Upload, limits: ImageLimits) -> Source:
    header = read_header(upload.data)
    check_limits(header, limits)
    return Source(upload.data, header)


async def _answer(parts: Parts, job: Job, order: Order) -> Response:
    rendered = await run_job(job, order.segmenter)
    name = order.segmenter.spec.name
    parts.telemetry.observe_stages(name, rendered.stages)
    headers = _cache_headers(order) | _headers(order.segmenter, rendered)
    if not order.representation.report:
        return Response(rendered.body, headers=headers, media_type=job.format.media_type)
    identity = IDENTITY.get()
    document = await parts.workers.run(
        report_json, rendered, job.look, order.segmenter, identity.request_id if identity else ""
    )
    return Response(document, headers=headers, media_type=JSON)


def _cache_headers(order: Order) -> dict[str, str]:
    return {"ETag": order.etag, "Vary": "Accept"}


def _headers(segmenter: Segmenter, rendered: Rendered) -> dict[str, str]:
    measured = rendered.quality
    headers = {
        "Server-Timing": server_timing(rendered.stages),
        "X-Model": segmenter.spec.name,
        "X-Model-Digest": f"sha256:{segmenter.digest}",
        "X-Backend": segmenter.provider,
        "X-Foreground": "present" if rendered.quality.foreground else "none",
        "X-Mask-Coverage": f"{measured.coverage:.4f}",
        "X-Mask-Connectivity": f"{measured.connectivity:.4f};islands={measured.islands}",
        "X-Mask-Confidence": f"{measured.confidence:.4f}",
    }
    if rendered.routed is not None:
        headers["X-Domain"] = rendered.routed.domain.label
        if rendered.routed.face_ratio is not None:
            headers["X-Face-Ratio"] = f"{rendered.routed.face_ratio:.4f}"
    if rendered.box is not None:
        headers |= {
            "X-Foreground-Top": str(rendered.box.top),
            "X-Foreground-Left": str(rendered.box.left),
            "X-Foreground-Width": str(rendered.box.width),
            "X-Foreground-Height": str(rendered.box.height),
        }
    return headers
