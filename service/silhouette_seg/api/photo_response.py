"""What one photo is answered with: the same for a request, a part of a batch, and whom else."""

from collections.abc import Mapping
from dataclasses import dataclass

from silhouette_seg.admission.photo_queue import Workload
from silhouette_seg.api.gateway import Gateway
from silhouette_seg.api.request.negotiation import JSON, Representation, negotiate
from silhouette_seg.api.request.parameters import SegmentOptions, parse_parameters, select_model
from silhouette_seg.api.request.uploads import UploadedImage
from silhouette_seg.api.response.report import report_json
from silhouette_seg.errors import BadParameter
from silhouette_seg.pipeline.photo import ImageFile, PhotoJob, RenderedImage, segment_photo
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.telemetry import IDENTITY, server_timing
from silhouette_seg.vision.codec.decode import ImageLimits, check_limits, read_header

MAX_LAYOUT_PIXELS = 100_000_000
"""Of the photo, times the copies: 50 million take a second or two of a processor, uninterrupted."""


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """A request that was understood: what to do, with which model, and how to answer."""

    options: SegmentOptions
    segmenter: Segmenter
    representation: Representation


@dataclass(frozen=True, slots=True)
class PhotoResponse:
    """A body, and the headers that describe it beside its type."""

    body: bytes
    media_type: str
    headers: dict[str, str]


def resolve(
    given: Mapping[str, str], gateway: Gateway, *, accept: str | None, has_background_image: bool
) -> ResolvedRequest:
    """Raises what `parse`, `select_model` and `negotiate` raise."""
    options = parse_parameters(given, has_background_image=has_background_image)
    segmenter = select_model(options, gateway.registry)
    representation = negotiate(
        accept, explicit=options.format, transparent=options.render.transparent
    )
    return ResolvedRequest(options, segmenter, representation)


def read_source(upload: UploadedImage, limits: ImageLimits) -> ImageFile:
    """Raises UnsupportedImageType and UnprocessableImage, before a pixel is decoded."""
    header = read_header(upload.data)
    check_limits(header, limits)
    return ImageFile(upload.data, header)


def build_job(resolved: ResolvedRequest, photo: ImageFile, picture: ImageFile | None) -> PhotoJob:
    """Raises BadParameter for a layout that would take too long to draw."""
    layout = resolved.options.render.layout
    drawn = len(layout.copies) * photo.header.pixels if layout else 0
    if drawn > MAX_LAYOUT_PIXELS:
        raise BadParameter(
            "layout: so many copies of so large a photo are not drawn.",
            limit=MAX_LAYOUT_PIXELS,
            actual=drawn,
        )
    return PhotoJob(
        photo=photo,
        options=resolved.options.render,
        format=resolved.representation.image,
        picture=picture,
        domain=resolved.options.domain,
    )


async def respond(
    gateway: Gateway, resolved: ResolvedRequest, job: PhotoJob, *, patient: bool = False
) -> PhotoResponse:
    """Does the job when its turn comes. Raises what `segment_photo` and `PhotoQueue.slot` raise."""
    work = Workload((resolved.segmenter.spec.name, job.options.output), job.pixels)
    async with gateway.photo_queue.slot(work, enforce_max_wait=not patient) as waited_s:
        rendered = await segment_photo(job, resolved.segmenter)
        rendered.stages["queue"] += waited_s
        gateway.telemetry.observe_image(resolved.segmenter.spec.name, rendered.stages, rendered)
        headers = response_headers(resolved.segmenter, rendered)
        if not resolved.representation.report:
            return PhotoResponse(rendered.body, job.format.media_type, headers)
        identity = IDENTITY.get()
        request_id = identity.request_id if identity else ""
        document = await gateway.photo_pool.run_in_thread(
            report_json, rendered, job.options, resolved.segmenter, request_id
        )
        return PhotoResponse(document, JSON, headers)


def response_headers(segmenter: Segmenter, rendered: RenderedImage) -> dict[str, str]:
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
    if rendered.decision is not None:
        headers["X-Domain"] = rendered.decision.domain.label
        if rendered.decision.face_ratio is not None:
            headers["X-Face-Ratio"] = f"{rendered.decision.face_ratio:.4f}"
    if rendered.box is not None:
        headers |= {
            "X-Foreground-Top": str(rendered.box.top),
            "X-Foreground-Left": str(rendered.box.left),
            "X-Foreground-Width": str(rendered.box.width),
            "X-Foreground-Height": str(rendered.box.height),
        }
    return headers
