"""Answers errors in the shape that the API of the request path documents."""

from collections.abc import Callable, Mapping

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from silhouette_seg.api.media_types import JSON
from silhouette_seg.api.problem_details import (
    CODE_KEY,
    INTERNAL_DETAIL,
    error_response,
    log_server_error,
    problem,
)
from silhouette_seg.errors import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ServiceError,
)

ErrorShape = Callable[[ServiceError], tuple[int, str]]
"""Turns an error into the status and the JSON body that another API documents."""
CLIENT_CLOSED_REQUEST = 499
"""Status for the log and the metrics of a client that left, as in nginx."""


class ErrorResponder:
    """Turns exceptions into responses.

    `shapes` maps a path prefix to the error shape below it. All other paths answer RFC 9457
    problem documents.
    """

    def __init__(self, shapes: Mapping[str, ErrorShape]) -> None:
        self._shapes = dict(shapes)

    def respond(
        self, scope: Scope, error: ServiceError, headers: dict[str, str] | None = None
    ) -> Response:
        """Returns the response to a request that ended in `error`."""
        for prefix, shape in self._shapes.items():
            if _is_below(prefix, scope["path"]):
                status, body = shape(error)
                return error_response(scope, error, status, body, JSON, headers)
        return problem(scope, error, headers)

    def add_exception_handlers(self, app: FastAPI) -> None:
        """Makes the application answer every expected exception through this object."""
        app.add_exception_handler(ServiceError, self._on_service_error)
        app.add_exception_handler(HTTPException, self._on_http_exception)
        app.add_exception_handler(RequestValidationError, self._on_validation_error)
        app.add_exception_handler(ClientDisconnect, self._on_client_disconnect)

    async def _on_service_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        log_server_error(error)
        return self.respond(request.scope, error)

    async def _on_http_exception(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            return self._method_not_allowed(request, dict(error.headers or {}).get("Allow", ""))
        if error.status_code == 404:
            return self.respond(request.scope, NotFound("There is nothing at this path."))
        if error.status_code < 500:
            return self.respond(request.scope, BadRequest("The request cannot be understood."))
        return self.respond(request.scope, InternalError(INTERNAL_DETAIL))

    def _method_not_allowed(self, request: Request, allow: str) -> Response:
        """Answers OPTIONS with the allowed methods, and all other methods with 405."""
        methods = {method.strip() for method in allow.split(",") if method.strip()} | {"OPTIONS"}
        if "GET" in methods:
            methods.add("HEAD")
        headers = {"Allow": ", ".join(sorted(methods))}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        error = MethodNotAllowed(f"This path answers {headers['Allow']}.")
        return self.respond(request.scope, error, headers)

    async def _on_validation_error(self, request: Request, error: Exception) -> Response:
        return self.respond(
            request.scope, BadRequest("The request does not match the documentation.")
        )

    async def _on_client_disconnect(self, request: Request, error: Exception) -> Response:
        """Stores the outcome for the log and the metrics; no client reads this response."""
        request.scope[CODE_KEY] = "client_gone"
        return Response(status_code=CLIENT_CLOSED_REQUEST)


def _is_below(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")
