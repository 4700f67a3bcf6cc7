"""What one photo is answered with: the same for a request, a part of a batch, and whom else."""

from collections.abc import Mapping
from dataclasses import dataclass

from silhouette_seg.admission.photo_queue import Workload
from silhouette_seg.api.gateway import Parts
from silhouette_seg.api.request.negotiation import JSON, Representation, negotiate
from silhouette_seg.api.request.parameters import SegmentOptions, choose, parse
from silhouette_seg.api.request.uploads import Upload
from silhouette_seg.api.response.report import report_json
from silhouette_seg.errors import BadParameter
from silhouette_seg.pipeline.photo import Job, Rendered, Source, run_job
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.telemetry import IDENTITY, server_timing
from silhouette_seg.vision.codec.decode import ImageLimits, check_limits, read_header

MAX_LAYOUT_PIXELS = 100_000_000
"""Of the photo, times the copies: 50 million take a second or two of a processor, uninterrupted."""


@dataclass(frozen=True, slots=True)
class Order:
    """A request that was understood: what to do, with which model, and how to answer."""

    options: SegmentOptions
    segmenter: Segmenter
    representation: Representation


@dataclass(frozen=True, slots=True)
class Answer:
    """A body, and the headers that describe it beside its type."""

    body: bytes
    media_type: str
    headers: dict[str, str]


def understand(
    given: Mapping[str, str], parts: Parts, *, accept: str | None, has_picture: bool
) -> Order:
    """Raises what `parse`, `choose` and `negotiate` raise."""
    options = parse(given, has_picture=has_picture)
    segmenter = choose(options, parts.catalog)
    representation = negotiate(
        accept, explicit=options.format, transparent=options.look.transparent
    )
    return Order(options, segmenter, representation)


def source(upload: Upload, limits: ImageLimits) -> Source:
    """Raises UnsupportedImageType and UnprocessableImage, before a pixel is decoded."""
    header = read_header(upload.data)
    check_limits(header, limits)
    return Source(upload.data, header)


def job_of(order: Order, photo: Source, picture: Source | None) -> Job:
    """Raises BadParameter for a layout that would take too long to draw."""
    layout = order.options.look.layout
    drawn = len(layout.copies) * photo.header.pixels if layout else 0
    if drawn > MAX_LAYOUT_PIXELS:
        raise BadParameter(
            "layout: so many copies of so large a photo are not drawn.",
            limit=MAX_LAYOUT_PIXELS,
            actual=drawn,
        )
    return Job(
        photo=photo,
        look=order.options.look,
        format=order.representation.image,
        picture=picture,
        domain=order.options.domain,
    )


async def answer(parts: Parts, order: Order, job: Job, *, patient: bool = False) -> Answer:
    """Does the job when its turn comes. Raises what `run_job` and `PhotoQueue.slot` raise."""
    work = Workload((order.segmenter.spec.name, job.look.output), job.pixels)
    async with parts.photo_queue.slot(work, enforce_max_wait=not patient) as waited_s:
        rendered = await run_job(job, order.segmenter)
        rendered.stages["queue"] += waited_s
        parts.telemetry.observe_image(order.segmenter.spec.name, rendered.stages, rendered)
        headers = headers_of(order.segmenter, rendered)
        if not order.representation.report:
            return Answer(rendered.body, job.format.media_type, headers)
        identity = IDENTITY.get()
        request_id = identity.request_id if identity else ""
        document = await parts.photo_pool.run_in_thread(
            report_json, rendered, job.look, order.segmenter, request_id
        )
        return Answer(document, JSON, headers)


def headers_of(segmenter: Segmenter, rendered: Rendered) -> dict[str, str]:
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
