"""ASGI middleware for cross-origin requests."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Scope

from silhouette_seg.api.problem_details import problem
from silhouette_seg.errors import BadRequest


class ProblemCORSMiddleware(CORSMiddleware):
    """starlette's CORS middleware; a rejected preflight request gets a 400 problem document."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        scope: Scope = {"path": "*"}
        return problem(scope, BadRequest("This origin, method or header is not allowed."))
