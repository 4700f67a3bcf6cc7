"""Refusals and failures over HTTP: RFC 9457 `application/problem+json`, in one shape.

Under `/v2` it is the shape of the Open Inference Protocol, and under `/v1.0` that of remove.bg,
which their clients know.
"""

import asyncio
import contextlib
import json
import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from silhouette_seg.api.removebg import errors
from silhouette_seg.api.schemas import Problem
from silhouette_seg.errors import (
    BadRequest,
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ServiceError,
    Unauthorized,
    Unavailable,
)
from silhouette_seg.telemetry import IDENTITY

JSON = "application/json"
MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:silhouette:problem:"
INFERENCE_PATH = "/v2"
CODE_KEY = "silhouette.code"
"""Where the scope keeps the code of the problem, for the metrics."""
CLIENT_GONE = 499
MAX_PATH = 200
"""Characters of a path that are told back."""
LINGER_S = 2.0
INTERNAL_DETAIL = "Something went wrong on our side; the log knows more."

log = logging.getLogger(__name__)


def add_exception_handlers(app: FastAPI) -> None:
    """Makes every refusal and failure of the application a problem document."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ClientDisconnect, _on_client_disconnect)


def problem(scope: Scope, error: ServiceError, headers: dict[str, str] | None = None) -> Response:
    """The answer to a request that ended in `error`."""
    scope[CODE_KEY] = error.code
    status = error.status
    if _is_below(INFERENCE_PATH, scope["path"]):
        body, media_type = _inference_error(error), JSON
    elif _is_below(errors.PATH, scope["path"]):
        (status, body), media_type = errors.translated(error), JSON
    else:
        body, media_type = _problem(scope, error), MEDIA_TYPE
    kind = LingeringResponse if isinstance(error, BodyTooLarge) else Response
    all_headers = _headers(error) | (headers or {})
    return kind(body, status, headers=all_headers, media_type=media_type)


def _problem(scope: Scope, error: ServiceError) -> str:
    identity = IDENTITY.get()
    document = Problem(
        type=TYPE_PREFIX + error.code,
        title=error.title,
        status=error.status,
        detail=error.detail,
        instance=scope["path"][:MAX_PATH],
        code=error.code,
        request_id=identity.request_id if identity else "",
        retryable=error.retryable,
        limit=error.limit,
        actual=error.actual,
    )
    return document.model_dump_json(exclude_none=True)


def _is_below(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def _inference_error(error: ServiceError) -> str:
    """All there is room for is one text."""
    text = error.detail
    if error.limit is not None:
        got = "" if error.actual is None else f", got {error.actual:.15g}"
        text = f"{text.rstrip('.')} (limit {error.limit:.15g}{got})."
    return json.dumps({"error": text})


def problem_for_part(scope: Scope, error: Exception) -> Response:
    """As a request that ended in `error` would be answered and logged, for one part of many."""
    if not isinstance(error, ServiceError):
        log.error("unexpected failure of a part of %s", scope["path"], exc_info=error)
        error = InternalError(INTERNAL_DETAIL)
    else:
        _log(error)
    return problem(scope, error)


def _headers(error: ServiceError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    retry_after_s = error.retry_after_s
    if retry_after_s is None and isinstance(error, Unavailable):
        retry_after_s = 1
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="silhouette"'
    if isinstance(error, (BodyTooLarge, BodyTooSlow)):
        headers["Connection"] = "close"
    return headers


class LingeringResponse(Response):
    """Answers at once, then drops what still arrives for a moment before the end.

    Closing with unread bytes resets the connection, and a client that is still sending would
    never see why.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_all_but_the_end(message: Message) -> None:
            await send({**message, "more_body": True} if "body" in message else message)

        await super().__call__(scope, receive, send_all_but_the_end)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    _log(error)
    return problem(request.scope, error)


def _log(error: ServiceError) -> None:
    """What is our own fault."""
    if error.status >= 500 and not error.retryable:
        log.error("%s", error.detail, exc_info=error)
    elif error.status >= 500 and error.__cause__ is not None:
        log.warning("%s: %s (%r)", error.code, error.detail, error.__cause__)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return _method_not_allowed(request, dict(error.headers or {}).get("Allow", ""))
    if error.status_code == 404:
        return problem(request.scope, NotFound("There is nothing at this path."))
    if error.status_code < 500:
        return problem(request.scope, BadRequest("The request cannot be understood."))
    return problem(request.scope, InternalError("Something went wrong on our side."))


def _method_not_allowed(request: Request, allow: str) -> Response:
    """OPTIONS is answered here too: with what is allowed."""
    methods = {method.strip() for method in allow.split(",") if method.strip()} | {"OPTIONS"}
    if "GET" in methods:
        methods.add("HEAD")
    headers = {"Allow": ", ".join(sorted(methods))}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=headers)
    error = MethodNotAllowed(f"This path answers {headers['Allow']}.")
    return problem(request.scope, error, headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    return problem(request.scope, BadRequest("The request is not as the documentation says."))


async def _on_client_disconnect(request: Request, error: Exception) -> Response:
    """Nobody is there to read this; the metrics are."""
    request.scope[CODE_KEY] = "client_gone"
    return Response(status_code=CLIENT_GONE)
