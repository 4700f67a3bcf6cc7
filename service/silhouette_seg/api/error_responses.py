"""Turns exceptions into error responses, in the format of the API at the path of the request."""

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
"""Function that returns the HTTP status and the JSON body of an error, in another API's format."""
CLIENT_CLOSED_REQUEST = 499
"""HTTP status that the log and the metrics record if the client disconnected, as in nginx."""


class ErrorResponder:
    """Turns the exceptions of requests into HTTP responses.

    `shapes` maps a path prefix, such as `/v2`, to the function that formats errors below it.
    Errors of all other paths become problem documents (RFC 9457).
    """

    def __init__(self, shapes: Mapping[str, ErrorShape]) -> None:
        self._shapes = dict(shapes)

    def respond(
        self, scope: Scope, error: ServiceError, headers: dict[str, str] | None = None
    ) -> Response:
        """Returns the response to the request of `scope` that ended in `error`.

        `headers` are added to those of the error. The code of the error is stored in `scope`.
        """
        for prefix, shape in self._shapes.items():
            if _is_below(prefix, scope["path"]):
                status, body = shape(error)
                return error_response(scope, error, status, body, JSON, headers)
        return problem(scope, error, headers)

    def add_exception_handlers(self, app: FastAPI) -> None:
        """Registers handlers in `app`, so that this object answers its exceptions.

        They cover ServiceError, HTTP errors of routing, invalid arguments and a disconnect.
        """
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
        """Returns 204 for OPTIONS and 405 for other methods, both with the header `Allow`.

        `allow` has the methods of the path, separated by commas.
        """
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
        """Stores `client_gone` for the log and the metrics, and returns an empty 499 response.

        The client has left and does not read it.
        """
        request.scope[CODE_KEY] = "client_gone"
        return Response(status_code=CLIENT_CLOSED_REQUEST)


def _is_below(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")
