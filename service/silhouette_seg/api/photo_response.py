"""What one photo is answered with: the same for a request, a part of a batch, and whom else."""

from collections.abc import Mapping
from dataclasses import dataclass

from silhouette_seg.admission.photo_queue import Work
from silhouette_seg.api.gateway import Parts
from silhouette_seg.api.request.negotiation import JSON, Representation, negotiate
from silhouette_seg.api.request.parameters import SegmentOptions, choose, parse
from silhouette_seg.api.request.uploads import Upload
from silhouette_seg.api.response.report import report_json
from silhouette_seg.errors import BadParameter
from silhouette_seg.pipeline.photo import ImageFile, PhotoJob, RenderedImage, segment_photo
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
    segmenter = choose(options, parts.registry)
    representation = negotiate(
        accept, explicit=options.format, transparent=options.render.transparent
    )
    return Order(options, segmenter, representation)


def source(upload: Upload, limits: ImageLimits) -> ImageFile:
    """Raises UnsupportedImageType and UnprocessableImage, before a pixel is decoded."""
    header = read_header(upload.data)
    check_limits(header, limits)
    return ImageFile(upload.data, header)


def job_of(order: Order, photo: ImageFile, picture: ImageFile | None) -> PhotoJob:
    """Raises BadParameter for a layout that would take too long to draw."""
    layout = order.options.render.layout
    drawn = len(layout.copies) * photo.header.pixels if layout else 0
    if drawn > MAX_LAYOUT_PIXELS:
        raise BadParameter(
            "layout: so many copies of so large a photo are not drawn.",
            limit=MAX_LAYOUT_PIXELS,
            actual=drawn,
        )
    return PhotoJob(
        photo=photo,
        options=order.options.render,
        format=order.representation.image,
        picture=picture,
        domain=order.options.domain,
    )


async def answer(parts: Parts, order: Order, job: PhotoJob, *, patient: bool = False) -> Answer:
    """Does the job when its turn comes. Raises what `segment_photo` and `Turns.take` raise."""
    work = Work((order.segmenter.spec.name, job.options.output), job.pixels)
    async with parts.turns.take(work, patient=patient) as waited_s:
        rendered = await segment_photo(job, order.segmenter)
        rendered.stages["queue"] += waited_s
        parts.telemetry.observe_image(order.segmenter.spec.name, rendered.stages, rendered)
        headers = headers_of(order.segmenter, rendered)
        if not order.representation.report:
            return Answer(rendered.body, job.format.media_type, headers)
        identity = IDENTITY.get()
        request_id = identity.request_id if identity else ""
        document = await parts.workers.run(
            report_json, rendered, job.options, order.segmenter, request_id
        )
        return Answer(document, JSON, headers)


def headers_of(segmenter: Segmenter, rendered: RenderedImage) -> dict[str, str]:
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
