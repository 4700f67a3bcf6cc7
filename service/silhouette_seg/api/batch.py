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
from silhouette_seg.api.gateway import Parts, parts_of
from silhouette_seg.api.photo_response import Answer, Order, answer, job_of, source, understand
from silhouette_seg.api.request.parameters import collect
from silhouette_seg.api.request.uploads import BatchIntake, Upload, read_batch
from silhouette_seg.api.response.content_disposition import attachment, stems
from silhouette_seg.api.response.multipart_mixed import MixedPart, MixedResponse
from silhouette_seg.engine.base import DEADLINE
from silhouette_seg.errors import DeadlineExceeded, MissingImage, ServiceError
from silhouette_seg.pipeline.photo import Job, Source
from silhouette_seg.telemetry import IDENTITY
from silhouette_seg.vision.codec.decode import ImageFormat, ImageLimits

T = TypeVar("T")

SUFFIXES = {
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


ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A part for each photo, in order: its picture, its report where "
        "`Accept` asks for `application/json`, or `application/problem+json`. Each has "
        "`X-Status`, the status that the photo would have had alone, `X-Index`, counted from 0, "
        "`Content-Disposition` with a name after the one that was sent, and the headers of "
        "`POST /v1/segment` but for `ETag`.",
        "content": {"multipart/mixed": {"schema": {"type": "array", "items": openapi.BINARY}}},
    },
    **openapi.problems(400, 401, 404, 406, 408, 413, 415, 422, 500, 503),
}


@router.post(
    "/v1/segment/batch",
    summary="Segment many photos",
    responses=ANSWERS,
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
    parts = parts_of(request)
    parts.check_room()
    query = collect(request.query_params.multi_items())
    with ExitStack() as held:
        held.enter_context(parts.requests.admit())
        take = held.enter_context(parts.bodies.lease())
        intake = await read_batch(request, parts.batch_limits, take)
        order = understand(
            collect(query.items(), intake.fields),
            parts,
            accept=accept_of_parts(request.headers.get("accept")),
            has_picture=intake.background is not None,
        )
        jobs = await parts.photo_pool.run_in_thread(_jobs, intake, order, parts.image_limits)
        parts.photo_queue.check()
        names = stems(upload.filename for upload in intake.images)
        return MixedResponse(
            _answers(parts, order, jobs, names, path=request.url.path),
            stall_s=parts.timeouts.request_s,
            held=held.pop_all(),
        )


def accept_of_parts(accept: str | None) -> str | None:
    """What `Accept` says of the parts: all but that the whole is multipart."""
    if accept is None:
        return None
    return ",".join(
        entry for entry in accept.split(",") if not entry.strip().lower().startswith("multipart/")
    )


def _jobs(intake: BatchIntake, order: Order, limits: ImageLimits) -> list[Job | ServiceError]:
    """For each photo what to do, or why it cannot be done. Raises for a bad background."""
    picture = source(intake.background, limits) if intake.background else None
    return [_job(upload, order, picture, limits) for upload in intake.images]


def _job(
    upload: Upload, order: Order, picture: Source | None, limits: ImageLimits
) -> Job | ServiceError:
    if not upload.data:
        return MissingImage("The image is empty.")
    try:
        return job_of(order, source(upload, limits), picture)
    except ServiceError as error:
        return error


async def _answers(
    parts: Parts,
    order: Order,
    jobs: Sequence[Job | ServiceError],
    names: Sequence[str],
    *,
    path: str,
) -> AsyncGenerator[MixedPart]:
    works = [partial(_attempt, parts, order, job, path) for job in jobs]
    async with aclosing(in_order(works, parts.batch_limits.at_once)) as answers:
        index = 0
        async for status, done in answers:
            yield _part(index, names[index], status, done)
            index += 1


async def in_order(works: Iterable[Callable[[], Awaitable[T]]], at_once: int) -> AsyncGenerator[T]:
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


async def _attempt(
    parts: Parts, order: Order, job: Job | ServiceError, path: str
) -> tuple[int, Answer]:
    """Status and answer of one photo; whatever went wrong, the others go on."""
    scope: Scope = {"path": path}  # as if it were a request of its own
    try:
        if isinstance(job, ServiceError):
            raise job
        status, done = 200, await _in_time(parts, order, job)
    except Exception as error:
        refused = problem_details.of_part(scope, error)
        headers = {
            name.title(): value
            for name, value in refused.headers.items()
            if name in ("cache-control", "retry-after")
        }
        done = Answer(bytes(refused.body), problem_details.MEDIA_TYPE, headers)
        status = refused.status_code
    parts.telemetry.count_batch_photo(status, scope.get(problem_details.CODE_KEY, "ok"))
    return status, done


async def _in_time(parts: Parts, order: Order, job: Job) -> Answer:
    timeout_s = parts.timeouts.request_s
    DEADLINE.set(asyncio.get_running_loop().time() + timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            return await answer(parts, order, job, patient=True)
    except TimeoutError:
        raise DeadlineExceeded(limit=timeout_s) from None


def _part(index: int, name: str, status: int, done: Answer) -> MixedPart:
    identity = IDENTITY.get()
    headers = {
        "Content-Type": done.media_type,
        "Content-Disposition": attachment(name + SUFFIXES.get(done.media_type, ".json")),
        "X-Index": str(index),
        "X-Status": str(status),
        "X-Request-Id": identity.request_id if identity else "",
    }
    return MixedPart(headers | done.headers, done.body)
