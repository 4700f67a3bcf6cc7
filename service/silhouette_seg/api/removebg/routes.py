"""`POST /v1.0/removebg`: removes the background with the parameters of remove.bg.

Clients of remove.bg work here if they change the base URL.
"""

import base64
import json
from dataclasses import dataclass, replace
from math import prod
from time import perf_counter

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from silhouette_seg.admission.photo_queue import Workload
from silhouette_seg.api.gateway import Gateway, gateway_of
from silhouette_seg.api.media_types import JSON
from silhouette_seg.api.photo_response import read_image_file
from silhouette_seg.api.removebg.openapi import BOX_SIDES, REQUEST, RESPONSES
from silhouette_seg.api.removebg.parameters import Parameters, parse_fields
from silhouette_seg.api.removebg.rendering import (
    RemovalResult,
    cropped_size,
    downscaled,
    encode_result,
    render_result,
    result_size,
)
from silhouette_seg.api.removebg.request import read_removebg_upload
from silhouette_seg.api.request.disconnect import run_until_disconnect
from silhouette_seg.api.request.parameters import parse_parameters
from silhouette_seg.errors import UnknownParameter
from silhouette_seg.pipeline.measurements import measurements_of
from silhouette_seg.pipeline.options import RenderOptions
from silhouette_seg.pipeline.photo import ImageFile
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.pipeline.timings import Stopwatch
from silhouette_seg.telemetry import server_timing
from silhouette_seg.vision.codec.decode import Frame, decode
from silhouette_seg.vision.geometry import Size

EXPOSED_HEADERS = (
    "X-Credits-Charged",
    "X-Height",
    "X-Max-Height",
    "X-Max-Width",
    "X-Type",
    "X-Width",
)
"""Response headers of this route that CORS lets pages of other origins read.

Those of `POST /v1/segment` are exposed as well.
"""

router = APIRouter(tags=["remove.bg"])


@dataclass(frozen=True, slots=True)
class RemovalJob:
    """Photo, background image, parameters and limits of one request."""

    photo: ImageFile
    background: ImageFile | None
    parameters: Parameters
    options: RenderOptions
    max_pixels: int
    """Maximum pixels of the result."""

    @property
    def pixels(self) -> int:
        """Number of pixels by which the photo queue measures the cost of this job.

        It is the pixels of the files, plus the most that margins can add to the result.
        """
        files = self.photo.header.pixels
        if self.background:
            files += self.background.header.pixels
        if not self.parameters.crop:
            return files
        largest = min(self.max_pixels, prod(cropped_size(self.parameters, self.size_hw)))
        return files + max(0, largest - prod(self.size_hw))

    @property
    def photo_hw(self) -> Size:
        """Height and width of the upright photo, in pixels."""
        return self.photo.header.upright_hw

    @property
    def size_hw(self) -> Size:
        """Height and width of the result before it is cropped, in pixels."""
        return result_size(self.photo_hw, self.parameters.max_pixels)


@router.post(
    "/v1.0/removebg",
    summary="Remove the background with the API of remove.bg",
    responses=RESPONSES,
    openapi_extra=REQUEST,
    response_class=Response,
)
async def removebg(request: Request) -> Response:
    """Removes the background of a photo of a person.

    The parameters, headers and error codes are those of remove.bg. The fields of the form may also
    be a JSON object or urlencoded, with the photo in base64. Requests for another type of
    foreground, for an image by its URL or for a shadow are rejected. The photo is segmented by the
    default model, with refined edges.
    """
    arrived = perf_counter()
    gateway = gateway_of(request)
    gateway.check_capacity()
    if request.query_params:
        raise UnknownParameter("Parameters are fields of the body.")
    with gateway.requests.admit(), gateway.body_memory.reservation() as reserve:
        upload = await read_removebg_upload(
            request, gateway.upload_limits, reserve, gateway.photo_pool
        )
        background, limits = upload.background, gateway.image_limits
        parameters = parse_fields(upload.fields, has_background_file=background is not None)
        job = RemovalJob(
            photo=read_image_file(upload.image, limits),
            background=None if background is None else read_image_file(background, limits),
            parameters=parameters,
            options=parse_parameters({"output": "cutout"}).render,
            max_pixels=gateway.image_limits.pixels,
        )
        return await run_until_disconnect(
            request,
            _respond(gateway, job, as_json=accepts_json_only(request.headers.get("accept"))),
            timeout_s=gateway.timeouts.remaining_s(arrived),
        )


def accepts_json_only(accept: str | None) -> bool:
    """Returns True if the `Accept` header names `application/json` and nothing else.

    Many clients list it beside `*/*` and want an image.
    """
    kinds = [entry.partition(";")[0].strip().lower() for entry in (accept or "").split(",")]
    return kinds == [JSON]


async def _respond(gateway: Gateway, job: RemovalJob, *, as_json: bool) -> Response:
    segmenter = gateway.registry.get()
    async with gateway.photo_queue.slot(
        Workload((segmenter.spec.name, "removebg"), job.pixels)
    ) as waited_s:
        result, matte, stages = await segmenter.run(RemoveBgTask(job))
        stages["queue"] += waited_s
        gateway.telemetry.observe_image(segmenter.spec.name, stages, measurements_of(matte))
        headers = _headers(segmenter, job, result) | {"Server-Timing": server_timing(stages)}
        if as_json:
            body = await gateway.photo_pool.run_in_thread(_json_document, result)
            return Response(body, headers=headers, media_type=JSON)
        return Response(result.body, headers=headers, media_type=result.media_type)


class RemoveBgTask:
    """Decodes the images of a job, and renders its result after the model has run.

    It is the `FrameTask` that `Segmenter.run` calls.
    """

    def __init__(self, job: RemovalJob) -> None:
        self._job = job
        self._background: Frame | None = None

    def decode(self, min_size: Size) -> Frame:
        """Decodes the background image, if there is one, and then the photo.

        Returns the photo, with sides of at least `min_size`, (height, width) in pixels. Raises
        UndecodableImage.
        """
        background = self._job.background
        if background is not None:
            self._background = decode(background.data, background.header)
        return decode_photo(self._job, min_size)

    def render(self, frame: Frame, matte: Matte) -> tuple[RemovalResult, Matte, dict[str, float]]:
        """Renders and encodes the result of the job from the decoded photo and its mask.

        Returns the encoded picture, the mask, and the seconds of each stage by name. Raises the
        errors of `render_result`.
        """
        job, watch = self._job, Stopwatch()
        image, box = render_result(
            job.parameters,
            job.options,
            downscaled(frame),
            self._background,
            matte,
            job.photo_hw,
            job.max_pixels,
        )
        render_s = watch.lap()
        result = encode_result(image, box, job.parameters.encoding)
        warning = frame.warning or (self._background.warning if self._background else None)
        result = replace(result, warning=warning)
        return result, matte, matte.timings.response_stages(render_s, encode_s=watch.lap())


def decode_photo(job: RemovalJob, min_size: Size) -> Frame:
    """Decodes the photo of a job with sides of at least `min_size` and of the result, in pixels.

    `photo_hw` of the returned frame is the size of the result. Raises UndecodableImage.
    """
    (height, width), size_hw = min_size, job.size_hw
    at_least = (max(height, size_hw[0]), max(width, size_hw[1]))
    frame = decode(job.photo.data, job.photo.header, min_size=at_least)
    return replace(frame, photo_hw=size_hw)


def _headers(segmenter: Segmenter, job: RemovalJob, result: RemovalResult) -> dict[str, str]:
    (height, width), (max_height, max_width) = result.size_hw, job.photo_hw
    headers = {
        "X-Width": str(width),
        "X-Height": str(height),
        "X-Max-Width": str(max_width),
        "X-Max-Height": str(max_height),
        "X-Credits-Charged": "0",
        "X-Model": segmenter.spec.name,
        "X-Model-Digest": f"sha256:{segmenter.digest}",
        "X-Backend": segmenter.provider,
    }
    if job.parameters.include_type:
        headers["X-Type"] = "person"
    if result.warning is not None:
        headers["X-Input-Warning"] = result.warning
    return headers | {
        f"X-Foreground-{side.title()}": str(pixels) for side, pixels in _box_sides(result).items()
    }


def _box_sides(result: RemovalResult) -> dict[str, int]:
    return {side: getattr(result.box, side) for side in BOX_SIDES}


def _json_document(result: RemovalResult) -> bytes:
    sides = {f"foreground_{side}": pixels for side, pixels in _box_sides(result).items()}
    image = base64.b64encode(result.body).decode("ascii")
    return json.dumps({"data": {"result_b64": image, **sides}}).encode()
