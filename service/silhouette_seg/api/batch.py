"""`POST /v1/segment/batch`: many photos in one form; an answer to each, in order."""

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

from silhouette_seg.api import openapi, problem_details
from silhouette_seg.api.gateway import Gateway, gateway_of
from silhouette_seg.api.photo_response import (
    PhotoResponse,
    ResolvedRequest,
    build_job,
    read_source,
    resolve,
    respond,
)
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
}
"""What is not among them is JSON."""

router = APIRouter(tags=["segment"])


def _request() -> dict[str, Any]:
    """That of one photo, but for the field `image`, and a form only."""
    form = openapi.REQUEST["requestBody"]["content"]["multipart/form-data"]["schema"]
    image = {
        "type": "array",
        "items": openapi.BINARY,
        "description": "The photos, in order; `image_file` and `file` do as well.",
    }
    schema = form | {"properties": form["properties"] | {"image": image}}
    body = {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    return openapi.REQUEST | {"requestBody": body}


RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A part for each photo, in resolved: its picture, its report where "
        "`Accept` asks for `application/json`, or `application/problem+json`. Each has "
        "`X-Status`, the status that the photo would have had alone, `X-Index`, counted from 0, "
        "`Content-Disposition` with a name after the one that was sent, and the headers of "
        "`POST /v1/segment` but for `ETag`.",
        "content": {"multipart/mixed": {"schema": {"type": "array", "items": openapi.BINARY}}},
    },
    **openapi.problem_responses(400, 401, 404, 406, 408, 413, 415, 422, 500, 503),
}


@router.post(
    "/v1/segment/batch",
    summary="Segment many photos",
    responses=RESPONSES,
    openapi_extra=_request(),
    response_class=Response,
)
async def segment_batch(request: Request) -> Response:
    """Finds the person in each of many photos.

    Send each as a field `image` of one form; the parameters are those of `POST /v1/segment` and
    hold for all. Each photo has its own answer, a part of `multipart/mixed`, and one that cannot
    be used spoils no other. The time limit of a request is that of each photo here, from its turn
    on. What is wrong with the request itself, with the background, or with its size refuses it as
    a whole, as does a service that has no room for the first photo; the others wait for theirs.
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
        jobs = await gateway.photo_pool.run_in_thread(_jobs, upload, resolved, gateway.image_limits)
        gateway.photo_queue.check()
        names = unique_stems(upload.filename for upload in upload.images)
        return MixedResponse(
            _answers(gateway, resolved, jobs, names, path=request.url.path),
            write_timeout_s=gateway.timeouts.request_s,
            resources=resources.pop_all(),
        )


def part_accept(accept: str | None) -> str | None:
    """What `Accept` says of the gateway: all but that the whole is multipart."""
    if accept is None:
        return None
    return ",".join(
        entry for entry in accept.split(",") if not entry.strip().lower().startswith("multipart/")
    )


def _jobs(
    upload: BatchUpload, resolved: ResolvedRequest, limits: ImageLimits
) -> list[PhotoJob | ServiceError]:
    """For each photo what to do, or why it cannot be done. Raises for a bad background."""
    picture = read_source(upload.background, limits) if upload.background else None
    return [_job(upload, resolved, picture, limits) for upload in upload.images]


def _job(
    upload: UploadedImage, resolved: ResolvedRequest, picture: ImageFile | None, limits: ImageLimits
) -> PhotoJob | ServiceError:
    if not upload.data:
        return MissingImage("The image is empty.")
    try:
        return build_job(resolved, read_source(upload, limits), picture)
    except ServiceError as error:
        return error


async def _answers(
    gateway: Gateway,
    resolved: ResolvedRequest,
    jobs: Sequence[PhotoJob | ServiceError],
    names: Sequence[str],
    *,
    path: str,
) -> AsyncGenerator[MixedPart]:
    works = [partial(_respond_or_problem, gateway, resolved, job, path) for job in jobs]
    async with aclosing(run_in_order(works, gateway.batch_limits.at_once)) as answers:
        index = 0
        async for status, done in answers:
            yield _part(index, names[index], status, done)
            index += 1


async def run_in_order(
    works: Iterable[Callable[[], Awaitable[T]]], at_once: int
) -> AsyncGenerator[T]:
    """The results in order, of which at most `at_once` are in work or wait to be taken.

    Closing it cancels what is in work, and returns when that is over.
    """
    begun: deque[asyncio.Future[T]] = deque()
    try:
        for work in works:
            begun.append(asyncio.ensure_future(work()))
            if len(begun) == at_once:
                yield await begun.popleft()
        while begun:
            yield await begun.popleft()
    finally:
        for future in begun:
            future.cancel()
        await asyncio.gather(*begun, return_exceptions=True)


async def _respond_or_problem(
    gateway: Gateway, resolved: ResolvedRequest, job: PhotoJob | ServiceError, path: str
) -> tuple[int, PhotoResponse]:
    """Status and answer of one photo; whatever went wrong, the others go on."""
    scope: Scope = {"path": path}  # as if it were a request of its own
    try:
        if isinstance(job, ServiceError):
            raise job
        status, done = 200, await _respond_in_time(gateway, resolved, job)
    except Exception as error:
        refused = problem_details.problem_for_part(scope, error)
        headers = {
            name.title(): value
            for name, value in refused.headers.items()
            if name in ("cache-control", "retry-after")
        }
        done = PhotoResponse(bytes(refused.body), problem_details.MEDIA_TYPE, headers)
        status = refused.status_code
    gateway.telemetry.count_batch_photo(status, scope.get(problem_details.CODE_KEY, "ok"))
    return status, done


async def _respond_in_time(
    gateway: Gateway, resolved: ResolvedRequest, job: PhotoJob
) -> PhotoResponse:
    timeout_s = gateway.timeouts.request_s
    DEADLINE.set(asyncio.get_running_loop().time() + timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            return await respond(gateway, resolved, job, patient=True)
    except TimeoutError:
        raise DeadlineExceeded(limit=timeout_s) from None


def _part(index: int, name: str, status: int, done: PhotoResponse) -> MixedPart:
    identity = IDENTITY.get()
    headers = {
        "Content-Type": done.media_type,
        "Content-Disposition": attachment(name + FILE_SUFFIXES.get(done.media_type, ".json")),
        "X-Index": str(index),
        "X-Status": str(status),
        "X-Request-Id": identity.request_id if identity else "",
    }
    return MixedPart(headers | done.headers, done.body)
