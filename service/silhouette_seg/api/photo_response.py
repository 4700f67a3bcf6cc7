"""Segments one photo and builds its response, for single requests and for parts of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass

from silhouette_seg.admission.photo_queue import Workload
from silhouette_seg.api.gateway import Gateway
from silhouette_seg.api.media_types import JSON
from silhouette_seg.api.request.negotiation import Representation, negotiate
from silhouette_seg.api.request.parameters import (
    SegmentOptions,
    parse_parameters,
    read_background_header,
    select_model,
)
from silhouette_seg.api.request.uploads import UploadedImage
from silhouette_seg.api.response.report import report_json
from silhouette_seg.errors import BadParameter, UnsupportedImageType
from silhouette_seg.pipeline.measurements import measurements_of
from silhouette_seg.pipeline.photo import ImageFile, PhotoJob, RenderedImage, segment_photo
from silhouette_seg.pipeline.segmenter import Segmenter
from silhouette_seg.telemetry import IDENTITY, server_timing
from silhouette_seg.vision.codec.decode import ImageLimits, check_limits, read_header

MAX_LAYOUT_PIXELS = 100_000_000
"""Largest product of the pixels of a photo and the copies of the person in a layout.

50 million take one to two seconds of a CPU core, without interruption.
"""


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """Parsed parameters of a request, the model they select, and the format of the response."""

    options: SegmentOptions
    segmenter: Segmenter
    representation: Representation


@dataclass(frozen=True, slots=True)
class PhotoResponse:
    """Body, media type and headers of the response for one photo."""

    body: bytes
    media_type: str
    headers: dict[str, str]


def resolve(
    parameters: Mapping[str, str],
    gateway: Gateway,
    *,
    accept: str | None,
    has_background_image: bool,
) -> ResolvedRequest:
    """Parses the parameters of a request, and selects its model and the format of its response.

    `parameters` has their text by name, and `accept` is the `Accept` header. Raises the errors of
    `parse_parameters`, `select_model` and `negotiate`. Raises BadParameter for facts of a JSON
    report if the response is an image.
    """
    options = parse_parameters(parameters, has_background_image=has_background_image)
    segmenter = select_model(options, gateway.registry)
    representation = negotiate(accept, explicit=options.format, output=options.render.output)
    for name in ("masks", "faces"):
        if getattr(options.render, name) and not representation.report:
            raise BadParameter(f"{name}: is for the JSON report; send Accept: application/json")
    return ResolvedRequest(options, segmenter, representation)


def read_image_file(upload: UploadedImage, limits: ImageLimits) -> ImageFile:
    """Reads the header of an uploaded image, checks its size, and returns the file with its header.

    No pixel is decoded. Raises UnsupportedImageType unless it has a supported format, and
    UnprocessableImage for a malformed header or a size beyond `limits`.
    """
    try:
        header = read_header(upload.data)
    except UnsupportedImageType as error:
        raise _sent_as_text(upload) or error from None
    check_limits(header, limits)
    return ImageFile(upload.data, header)


def read_background_file(upload: UploadedImage | None, limits: ImageLimits) -> ImageFile | None:
    """Reads the header of the background image as `read_image_file` does; None without one.

    Its errors name the parameter.
    """
    if upload is None:
        return None
    try:
        header = read_background_header(upload.data, limits)
    except UnsupportedImageType as error:
        raise _sent_as_text(upload) or error from None
    return ImageFile(upload.data, header)


def _sent_as_text(upload: UploadedImage) -> UnsupportedImageType | None:
    """Returns the error for a field that holds a text in place of a file, else None."""
    if not (name := upload.text_field):
        return None
    return UnsupportedImageType(
        f"The field {name} holds a text, not a file: with curl, write -F {name}=@FILE."
    )


def build_job(
    resolved: ResolvedRequest, photo: ImageFile, background: ImageFile | None
) -> PhotoJob:
    """Returns the job that segments one photo with the parameters of its request.

    Raises BadParameter for a layout with more than `MAX_LAYOUT_PIXELS`.
    """
    layout = resolved.options.render.layout
    layout_pixels = len(layout.copies) * photo.header.pixels if layout else 0
    if layout_pixels > MAX_LAYOUT_PIXELS:
        raise BadParameter(
            "layout: the copies have too many pixels together.",
            limit=MAX_LAYOUT_PIXELS,
            actual=layout_pixels,
        )
    return PhotoJob(
        photo=photo,
        options=resolved.options.render,
        format=resolved.representation.image,
        background=background,
        domain=resolved.options.domain,
        keep_metadata=resolved.options.keep_metadata,
    )


async def respond(
    gateway: Gateway, resolved: ResolvedRequest, job: PhotoJob, *, enforce_max_wait: bool = True
) -> PhotoResponse:
    """Waits in the photo queue, segments one photo, and returns its image or JSON report.

    With `enforce_max_wait=False` it waits without a limit, and the caller must limit the time.
    Raises the errors of `segment_photo` and `PhotoQueue.slot`.
    """
    work = Workload((resolved.segmenter.spec.name, job.options.output), job.pixels)
    async with gateway.photo_queue.slot(work, enforce_max_wait=enforce_max_wait) as waited_s:
        rendered = await segment_photo(job, resolved.segmenter)
        rendered.stages["queue"] += waited_s
        gateway.telemetry.observe_image(
            resolved.segmenter.spec.name, rendered.stages, measurements_of(rendered)
        )
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
    """Returns the headers of a result: model, timings, mask measurements and the person's box.

    `openapi.RESPONSE_HEADERS` describes each.
    """
    quality = rendered.quality
    headers = {
        "Server-Timing": server_timing(rendered.stages),
        "X-Model": segmenter.spec.name,
        "X-Model-Digest": f"sha256:{segmenter.digest}",
        "X-Backend": segmenter.provider,
        "X-Foreground": "present" if quality.foreground else "none",
        "X-Mask-Coverage": f"{quality.coverage:.4f}",
        "X-Mask-Connectivity": f"{quality.connectivity:.4f};islands={quality.piece_count}",
    }
    if quality.confidence is not None:
        headers["X-Mask-Confidence"] = f"{quality.confidence:.4f}"
    if quality.doubtful:
        headers["X-Foreground-Doubtful"] = "true"
    if rendered.decision is not None:
        headers["X-Domain"] = rendered.decision.domain.label
        if rendered.decision.face_ratio is not None:
            headers["X-Face-Ratio"] = f"{rendered.decision.face_ratio:.4f}"
    if rendered.blurred_faces is not None:
        headers["X-Faces-Blurred"] = str(rendered.blurred_faces)
    if rendered.warning is not None:
        headers["X-Input-Warning"] = rendered.warning
    if rendered.box is not None:
        headers |= {
            "X-Foreground-Top": str(rendered.box.top),
            "X-Foreground-Left": str(rendered.box.left),
            "X-Foreground-Width": str(rendered.box.width),
            "X-Foreground-Height": str(rendered.box.height),
        }
    return headers
