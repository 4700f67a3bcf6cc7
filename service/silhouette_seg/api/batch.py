"""`POST /v1/segment/batch`: segments many photos of one form and answers each, in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, aclosing
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from silhouette_seg.api import openapi
from silhouette_seg.api.gateway import Gateway, gateway_of
from silhouette_seg.api.media_types import MULTIPART_MIXED, PROBLEM_JSON
from silhouette_seg.api.photo_response import (
    PhotoResponse,
    ResolvedRequest,
    build_job,
    read_background_file,
    read_image_file,
    resolve,
    respond,
)
from silhouette_seg.api.problem_details import CODE_KEY, problem_for_part
from silhouette_seg.api.request.parameters import merge_parameters
from silhouette_seg.api.request.uploads import BatchUpload, UploadedImage, read_batch_upload
from silhouette_seg.api.response.content_disposition import attachment, unique_stems
from silhouette_seg.api.response.multipart_mixed import MixedPart, MixedResponse
from silhouette_seg.engine.base import DEADLINE
from silhouette_seg.errors import DeadlineExceeded, MissingImage, ServiceError
from silhouette_seg.pipeline.photo import ImageFile, PhotoJob
from silhouette_seg.telemetry import IDENTITY
from silhouette_seg.vision.codec.decode import ImageFormat, ImageLimits

T = TypeVar("T")

FILE_SUFFIXES = {
    ImageFormat.PNG.media_type: ".png",
    ImageFormat.WEBP.media_type: ".webp",
    ImageFormat.JPEG.media_type: ".jpg",
    ImageFormat.AVIF.media_type: ".avif",
}
"""File name suffix of a result for each media type; all other types are JSON, `.json`."""

router = APIRouter(tags=["segment"])


RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One part for each photo, in order. A part is an image, or a report where "
        "`Accept` asks for `application/json`, or an `application/problem+json`. Each part has "
        "`X-Status`, the status of a request with this photo alone, `X-Index`, counted from 0, "
        "`Content-Disposition` with a name derived from the uploaded one, and the headers of "
        "`POST /v1/segment` except `ETag`.",
        "content": {MULTIPART_MIXED: {"schema": openapi.BINARY}},
    },
    **openapi.problem_responses(400, 401, 404, 406, 408, 413, 415, 422, 500, 503),
}


@router.post(
    "/v1/segment/batch",
    summary="Segment many photos",
    responses=RESPONSES,
    openapi_extra=openapi.BATCH_REQUEST,
    response_class=Response,
)
async def segment_batch(request: Request) -> Response:
    """Finds the person in each of many photos.

    Send each photo as a field `image` of one form. The parameters are those of
    `POST /v1/segment` and apply to all photos. Each photo has its own part of the
    `multipart/mixed` response, and a photo that cannot be processed does not affect the others.
    The time limit of a request applies to each photo, from the start of its work. An invalid
    parameter or background, or too many bytes, rejects the whole batch. So does a full photo
    queue when the batch begins; later the photos wait for their turn.
    """
    gateway = gateway_of(request)
    gateway.check_capacity()
    query = merge_parameters(request.query_params.multi_items())
    with ExitStack() as resources:
        resources.enter_context(gateway.requests.admit())
        reserve = resources.enter_context(gateway.body_memory.reservation())
        upload = await read_batch_upload(request, gateway.batch_limits, reserve)
        resolved = resolve(
            merge_parameters(query.items(), upload.fields),
            gateway,
            accept=part_accept(request.headers.get("accept")),
            has_background_image=upload.background is not None,
        )
        jobs = await gateway.photo_pool.run_in_thread(
            _build_jobs, upload, resolved, gateway.image_limits
        )
        gateway.photo_queue.check()
        names = unique_stems(image.filename for image in upload.images)
        return MixedResponse(
            _parts(gateway, resolved, jobs, names, path=request.url.path),
            write_timeout_s=gateway.timeouts.request_s,
            resources=resources.pop_all(),
        )


def part_accept(accept: str | None) -> str | None:
    """Returns the `Accept` header without its multipart types, or None if there is no header.

    The rest decides the media type of each part of the response.
    """
    if accept is None:
        return None
    return ",".join(
        entry for entry in accept.split(",") if not entry.strip().lower().startswith("multipart/")
    )


async def run_in_order(
    calls: Iterable[Callable[[], Awaitable[T]]], concurrency: int
) -> AsyncGenerator[T]:
    """Runs asynchronous calls concurrently and yields their results in the order of `calls`.

    At most `concurrency` calls run or have results that are not yet consumed. An exception of a
    call is raised in its place. Closing the generator cancels the running calls and waits for
    their end.
    """
    started: deque[asyncio.Future[T]] = deque()
    try:
        for call in calls:
            started.append(asyncio.ensure_future(call()))
            if len(started) == concurrency:
                yield await started.popleft()
        while started:
            yield await started.popleft()
    finally:
        for future in started:
            future.cancel()
        await asyncio.gather(*started, return_exceptions=True)


def _build_jobs(
    upload: BatchUpload, resolved: ResolvedRequest, limits: ImageLimits
) -> list[PhotoJob | ServiceError]:
    """Reads the header of each uploaded photo, in order.

    Returns the job that segments it, or the error of a photo that cannot be processed.

    Raises UnsupportedImageType or UnprocessableImage if the background image is invalid.
    """
    background = read_background_file(upload.background, limits)
    return [_build_job(image, resolved, background, limits) for image in upload.images]


def _build_job(
    image: UploadedImage,
    resolved: ResolvedRequest,
    background: ImageFile | None,
    limits: ImageLimits,
) -> PhotoJob | ServiceError:
    if not image.data:
        return MissingImage("The image is empty.")
    try:
        return build_job(resolved, read_image_file(image, limits), background)
    except ServiceError as error:
        return error


async def _parts(
    gateway: Gateway,
    resolved: ResolvedRequest,
    jobs: Sequence[PhotoJob | ServiceError],
    names: Sequence[str],
    *,
    path: str,
) -> AsyncGenerator[MixedPart]:
    calls = [partial(_respond_or_problem, gateway, resolved, job, path) for job in jobs]
    async with aclosing(run_in_order(calls, gateway.batch_limits.concurrency)) as results:
        index = 0
        async for status, response in results:
            yield _part(index, names[index], status, response)
            index += 1


async def _respond_or_problem(
    gateway: Gateway, resolved: ResolvedRequest, job: PhotoJob | ServiceError, path: str
) -> tuple[int, PhotoResponse]:
    """Segments one photo and returns its HTTP status and response.

    An error, also one passed as `job`, becomes a problem document with its status.
    """
    scope: Scope = {"path": path}  # stands for a request with this photo alone
    try:
        if isinstance(job, ServiceError):
            raise job
        status, response = 200, await _respond_in_time(gateway, resolved, job)
    except Exception as error:
        problem = problem_for_part(scope, error)
        headers = {
            name.title(): value
            for name, value in problem.headers.items()
            if name in ("cache-control", "retry-after")
        }
        response = PhotoResponse(bytes(problem.body), PROBLEM_JSON, headers)
        status = problem.status_code
    gateway.telemetry.count_batch_photo(status, scope.get(CODE_KEY, "ok"))
    return status, response


async def _respond_in_time(
    gateway: Gateway, resolved: ResolvedRequest, job: PhotoJob
) -> PhotoResponse:
    timeout_s = gateway.timeouts.request_s
    DEADLINE.set(asyncio.get_running_loop().time() + timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            return await respond(gateway, resolved, job, enforce_max_wait=False)
    except TimeoutError:
        raise DeadlineExceeded(limit=timeout_s) from None


def _part(index: int, name: str, status: int, response: PhotoResponse) -> MixedPart:
    identity = IDENTITY.get()
    headers = {
        "Content-Type": response.media_type,
        "Content-Disposition": attachment(name + FILE_SUFFIXES.get(response.media_type, ".json")),
        "X-Index": str(index),
        "X-Status": str(status),
        "X-Request-Id": identity.request_id if identity else "",
    }
    return MixedPart(headers | response.headers, response.body)
