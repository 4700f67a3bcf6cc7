"""`POST /v1.0/removebg`: clients of remove.bg work here when they change the base URL."""

import base64
import json
from dataclasses import dataclass, replace
from math import prod
from time import perf_counter
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from silhouette_seg.admission.photo_queue import Workload
from silhouette_seg.api import openapi
from silhouette_seg.api.gateway import Gateway, gateway_of
from silhouette_seg.api.media_types import FORM_DATA, JSON, URLENCODED
from silhouette_seg.api.photo_response import read_image_file
from silhouette_seg.api.removebg.bodies import BASE64
from silhouette_seg.api.removebg.parameters import PARAMETERS, Wanted, parse
from silhouette_seg.api.removebg.rendering import (
    ZIP,
    Removed,
    cropped,
    packed,
    paint,
    reduced,
    size_of,
)
from silhouette_seg.api.removebg.request import BACKGROUND, FILE, read_removebg
from silhouette_seg.api.request.disconnect import run_until_disconnect
from silhouette_seg.api.request.parameters import parse_parameters
from silhouette_seg.api.request.uploads import UploadedImage
from silhouette_seg.errors import UnknownParameter
from silhouette_seg.pipeline.measurements import measurements_of
from silhouette_seg.pipeline.options import RenderOptions
from silhouette_seg.pipeline.photo import ImageFile
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.pipeline.timings import Stopwatch
from silhouette_seg.telemetry import server_timing
from silhouette_seg.vision.codec.decode import Frame, ImageFormat, decode
from silhouette_seg.vision.geometry import Size

EXPOSED_HEADERS = (
    "X-Credits-Charged",
    "X-Height",
    "X-Max-Height",
    "X-Max-Width",
    "X-Type",
    "X-Width",
)
"""What a page of another origin may read, beside what all answers have."""

HEADERS = {
    "X-Type": "`person`.",
    "X-Width": "Of the result, in pixels.",
    "X-Height": "As above.",
    "X-Max-Width": "Of the result at `size=full`, before it is cropped.",
    "X-Max-Height": "As above.",
    "X-Foreground-Top": "Where the person is in the result before it is cropped or laid out.",
    "X-Foreground-Left": "As above.",
    "X-Foreground-Width": "As above.",
    "X-Foreground-Height": "As above.",
    "X-Credits-Charged": "0.",
}

router = APIRouter(tags=["remove.bg"])


@dataclass(frozen=True, slots=True)
class Removal:
    """All that is to be done for one request."""

    photo: ImageFile
    picture: ImageFile | None
    wanted: Wanted
    options: RenderOptions
    max_pixels: int
    """Of what comes out."""

    @property
    def pixels(self) -> int:
        """Of the files, and what margins can add to a picture that the person fills."""
        files = self.photo.header.pixels + (self.picture.header.pixels if self.picture else 0)
        if not self.wanted.crop:
            return files
        most = min(self.max_pixels, prod(cropped(self.wanted, self.size_hw)))
        return files + max(0, most - prod(self.size_hw))

    @property
    def photo_hw(self) -> Size:
        return self.photo.header.upright_hw

    @property
    def size_hw(self) -> Size:
        """Before it is cropped."""
        return size_of(self.photo_hw, self.wanted.max_pixels)


def _request() -> dict[str, Any]:
    fields = {
        name: {"type": "string", "default": known.default, "description": known.description}
        for name, known in PARAMETERS.items()
    }
    in_base64 = {BASE64: {"type": "string", "description": "The photo."}}
    files = {
        FILE: openapi.BINARY | {"description": "The photo."},
        BACKGROUND: openapi.BINARY | {"description": "The background; it is scaled to cover."},
    }
    text = {"type": "object", "properties": in_base64 | fields, "additionalProperties": False}
    form = text | {"properties": files | in_base64 | fields}
    content = {FORM_DATA: form, JSON: text, URLENCODED: text}
    return {
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": schema} for kind, schema in content.items()},
        }
    }


def _answers() -> dict[int | str, dict[str, Any]]:
    error = {"type": "object", "properties": dict.fromkeys(("title", "code", "detail"), _TEXT)}
    errors = {"type": "object", "properties": {"errors": {"type": "array", "items": error}}}
    images = (made.media_type for made in ImageFormat)
    return {
        200: {
            "description": "The picture, or with `Accept: application/json` alone its base64.",
            "headers": {
                name: {"description": text, "schema": _TEXT} for name, text in HEADERS.items()
            },
            "content": {
                **{kind: {"schema": openapi.BINARY} for kind in (*images, ZIP)},
                JSON: {"schema": {"type": "object"}},
            },
        },
        **{
            status: {"description": text, "content": {JSON: {"schema": errors}}}
            for status, text in _REFUSALS.items()
        },
    }


_TEXT = {"type": "string"}
_REFUSALS = {
    400: "`invalid_<parameter>`, `missing_source`, `multiple_sources`, `file_too_large`, "
    "`invalid_file_type`, `failed_to_read_image`, `resolution_too_high`, `unknown_foreground`...",
    403: "`auth_failed`",
    408: "`body_too_slow`",
    415: "`unsupported_media_type`",
    429: "`rate_limit_exceeded`: the service is full",
    500: "`internal`",
    503: "`draining`, `warming_up`, `engine_failed`, `engine_down`",
    504: "`deadline_exceeded`",
}


@router.post(
    "/v1.0/removebg",
    summary="Remove the background, as remove.bg does",
    responses=_answers(),
    openapi_extra=_request(),
    response_class=Response,
)
async def removebg(request: Request) -> Response:
    """The names, headers and errors of remove.bg's API, for people.

    What it cannot do it refuses: another type of foreground, an image by its address, a shadow.
    The photo goes to the default model, with all that improves edges.
    """
    arrived = perf_counter()
    gateway = gateway_of(request)
    gateway.check_capacity()
    if request.query_params:
        raise UnknownParameter("Parameters are fields of the body.")
    with gateway.requests.admit(), gateway.body_memory.reservation() as reserve:
        intake = await read_removebg(request, gateway.upload_limits, reserve, gateway.photo_pool)
        wanted = parse(intake.fields, has_picture=intake.background is not None)
        removal = Removal(
            photo=_source(gateway, intake.image),
            picture=None if intake.background is None else _source(gateway, intake.background),
            wanted=wanted,
            options=parse_parameters({"output": "cutout"}).render,
            max_pixels=gateway.image_limits.pixels,
        )
        return await run_until_disconnect(
            request,
            _answer(gateway, removal, as_json=wants_json(request.headers.get("accept"))),
            timeout_s=gateway.timeouts.remaining_s(arrived),
        )


def wants_json(accept: str | None) -> bool:
    """Only who accepts nothing else: many clients say that they accept JSON, and anything."""
    kinds = [entry.partition(";")[0].strip().lower() for entry in (accept or "").split(",")]
    return kinds == [JSON]


def _source(gateway: Gateway, data: bytes) -> ImageFile:
    return read_image_file(UploadedImage(data, digest=""), gateway.image_limits)


async def _answer(gateway: Gateway, removal: Removal, *, as_json: bool) -> Response:
    segmenter = gateway.registry.get()
    async with gateway.photo_queue.slot(
        Workload((segmenter.spec.name, "removebg"), removal.pixels)
    ) as waited_s:
        removed, matte, stages = await segmenter.run(RemoveBgTask(removal))
        stages["queue"] += waited_s
        gateway.telemetry.observe_image(segmenter.spec.name, stages, measurements_of(matte))
        headers = _headers(segmenter, removal, removed) | {"Server-Timing": server_timing(stages)}
        if as_json:
            body = await gateway.photo_pool.run_in_thread(_document, removed)
            return Response(body, headers=headers, media_type=JSON)
        return Response(removed.body, headers=headers, media_type=removed.media_type)


class RemoveBgTask:
    """The frame task of a removal: result, matte, and the seconds of each stage."""

    def __init__(self, removal: Removal) -> None:
        self._removal = removal
        self._background: Frame | None = None

    def decode(self, min_size: Size) -> Frame:
        """Decodes the background image, then the photo as `load_photo`."""
        picture = self._removal.picture
        if picture is not None:
            self._background = decode(picture.data, picture.header)
        return load_photo(self._removal, min_size)

    def render(self, frame: Frame, matte: Matte) -> tuple[Removed, Matte, dict[str, float]]:
        """Renders and encodes the result. Raises the errors of `paint` and `packed`."""
        removal, watch = self._removal, Stopwatch()
        image, box = paint(
            removal.wanted,
            removal.options,
            reduced(frame),
            self._background,
            matte,
            removal.photo_hw,
            removal.max_pixels,
        )
        render_s = watch.lap()
        removed = packed(image, box, removal.wanted.encoding)
        return removed, matte, matte.timings.response_stages(render_s, encode_s=watch.lap())


def load_photo(removal: Removal, min_size: Size) -> Frame:
    """With the pixels that looking for the person takes, as a photo of the size that is wanted."""
    (height, width), size_hw = min_size, removal.size_hw
    enough = (max(height, size_hw[0]), max(width, size_hw[1]))
    frame = decode(removal.photo.data, removal.photo.header, min_size=enough)
    return replace(frame, photo_hw=size_hw)


def _headers(segmenter: Segmenter, removal: Removal, removed: Removed) -> dict[str, str]:
    (height, width), (max_height, max_width) = removed.size_hw, removal.photo_hw
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
    if removal.wanted.names_type:
        headers["X-Type"] = "person"
    return headers | {
        f"X-Foreground-{side.title()}": str(pixels) for side, pixels in _sides(removed).items()
    }


def _sides(removed: Removed) -> dict[str, int]:
    box = removed.box
    return {"top": box.top, "left": box.left, "width": box.width, "height": box.height}


def _document(removed: Removed) -> bytes:
    sides = {f"foreground_{side}": pixels for side, pixels in _sides(removed).items()}
    image = base64.b64encode(removed.body).decode("ascii")
    return json.dumps({"data": {"result_b64": image, **sides}}).encode()
