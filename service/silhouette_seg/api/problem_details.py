"""Errors over HTTP as RFC 9457 `application/problem+json` documents."""

import logging

from starlette.responses import Response
from starlette.types import Scope

from silhouette_seg.api.media_types import PROBLEM_JSON
from silhouette_seg.api.response.lingering import LingeringResponse
from silhouette_seg.api.schemas import Problem
from silhouette_seg.errors import (
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    ServiceError,
    Unauthorized,
    Unavailable,
)
from silhouette_seg.telemetry import IDENTITY

TYPE_PREFIX = "urn:silhouette:problem:"
CODE_KEY = "silhouette.code"
"""Key under which a scope stores the code of its error, for the metrics."""
MAX_PATH_CHARS = 200
"""Characters of the request path that a document repeats."""
INTERNAL_DETAIL = "Something went wrong on our side. The log has the details."

log = logging.getLogger(__name__)


def problem(scope: Scope, error: ServiceError, headers: dict[str, str] | None = None) -> Response:
    """Returns the problem document for a request that ended in `error`."""
    return error_response(
        scope, error, error.status, _document(scope, error), PROBLEM_JSON, headers
    )


def problem_for_part(scope: Scope, error: Exception) -> Response:
    """Returns the problem document for one part of a batch, and logs the error.

    The result is that of a request with this photo alone.
    """
    if not isinstance(error, ServiceError):
        log.error("unexpected failure of a part of %s", scope["path"], exc_info=error)
        error = InternalError(INTERNAL_DETAIL)
    else:
        log_server_error(error)
    return problem(scope, error)


def error_response(
    scope: Scope,
    error: ServiceError,
    status: int,
    body: str,
    media_type: str,
    headers: dict[str, str] | None = None,
) -> Response:
    """Returns `body` with the headers of `error`, and stores its code in the scope."""
    scope[CODE_KEY] = error.code
    response_type = LingeringResponse if isinstance(error, BodyTooLarge) else Response
    all_headers = _headers(error) | (headers or {})
    return response_type(body, status, headers=all_headers, media_type=media_type)


def detail_with_limit(error: ServiceError) -> str:
    """Returns the detail with limit and actual value appended, for shapes without such fields."""
    if error.limit is None:
        return error.detail
    actual = "" if error.actual is None else f", got {error.actual:.15g}"
    return f"{error.detail.rstrip('.')} (limit {error.limit:.15g}{actual})."


def log_server_error(error: ServiceError) -> None:
    """Logs an error that the service itself caused; the request log covers all others."""
    if error.status >= 500 and not error.retryable:
        log.error("%s", error.detail, exc_info=error)
    elif error.status >= 500 and error.__cause__ is not None:
        log.warning("%s: %s (%r)", error.code, error.detail, error.__cause__)


def _document(scope: Scope, error: ServiceError) -> str:
    identity = IDENTITY.get()
    document = Problem(
        type=TYPE_PREFIX + error.code,
        title=error.title,
        status=error.status,
        detail=error.detail,
        instance=scope["path"][:MAX_PATH_CHARS],
        code=error.code,
        request_id=identity.request_id if identity else "",
        retryable=error.retryable,
        limit=error.limit,
        actual=error.actual,
    )
    return document.model_dump_json(exclude_none=True)


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
