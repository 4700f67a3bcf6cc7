"""Error responses as `application/problem+json` documents (RFC 9457)."""

import logging

from starlette.responses import Response
from starlette.types import Scope

from silhouette_seg.api.media_types import PROBLEM_JSON
from silhouette_seg.api.response.lingering import LingeringResponse
from silhouette_seg.api.schemas import Problem
from silhouette_seg.errors import (
    BodyTooLarge,
    BodyTooSlow,
    Draining,
    InternalError,
    ModelFailed,
    OutOfMemory,
    ServiceError,
    Unauthorized,
    Unavailable,
    with_limit,
)
from silhouette_seg.telemetry import IDENTITY

TYPE_PREFIX = "urn:silhouette:problem:"
CODE_KEY = "silhouette.code"
"""Key of the ASGI scope under which the code of the request's error is stored, for metrics."""
MAX_PATH_CHARS = 200
"""Number of characters after which a problem document cuts the path of the request."""
INTERNAL_DETAIL = "Something went wrong on our side. The log has the details."

log = logging.getLogger(__name__)


def problem(scope: Scope, error: ServiceError, headers: dict[str, str] | None = None) -> Response:
    """Returns a response with the problem document of `error`, for the request of `scope`.

    `headers` are added to those of the error.
    """
    return error_response(
        scope, error, error.status, _document(scope, error), PROBLEM_JSON, headers
    )


def problem_for_part(scope: Scope, error: Exception) -> Response:
    """Logs the error of one photo of a batch, and returns its problem document.

    Status, headers and body are those of a request with this photo alone.
    """
    return problem(scope, to_service_error(error, f"a part of {scope['path']}"))


def to_service_error(error: Exception, subject: str) -> ServiceError:
    """Logs an error of the service and returns it in the form in which callers get it.

    A failed allocation becomes OutOfMemory, and any other exception an InternalError without
    details. `subject` names the request in the log.
    """
    if isinstance(error, MemoryError):
        log.warning("no memory for %s", subject)
        return OutOfMemory()
    if isinstance(error, ServiceError):
        log_server_error(error)
        return error
    log.error("unexpected failure of %s", subject, exc_info=error)
    return InternalError(INTERNAL_DETAIL)


def error_response(
    scope: Scope,
    error: ServiceError,
    status: int,
    body: str,
    media_type: str,
    headers: dict[str, str] | None = None,
) -> Response:
    """Returns a response with `body` and the headers that belong to `error`.

    These are `Retry-After`, `WWW-Authenticate` or `Connection`, and `Cache-Control`. The code of
    the error is stored in `scope` for the metrics.
    """
    scope[CODE_KEY] = error.code
    response_type = LingeringResponse if isinstance(error, BodyTooLarge) else Response
    all_headers = _headers(error) | (headers or {})
    return response_type(body, status, headers=all_headers, media_type=media_type)


def detail_with_limit(error: ServiceError) -> str:
    """Returns the error's explanation, with its limit and the actual value in parentheses.

    Other APIs need it, because their error bodies have no fields for the two numbers.
    """
    return with_limit(error.detail, error.limit, error.actual)


def log_server_error(error: ServiceError) -> None:
    """Logs an error of status 500 or above; the request log has all others.

    An error that is not retryable is logged with its traceback. A retryable one is logged as a
    warning if another exception caused it. The failure of a model was logged when it happened.
    """
    if isinstance(error, ModelFailed):
        return
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
    if isinstance(error, (BodyTooLarge, BodyTooSlow, Draining)):
        headers["Connection"] = "close"
    return headers
