"""ASGI middleware around every request: its identity, metrics, log line, standard headers."""

import logging
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BadRequest
from service.problems import CODE_KEY, problem
from service.telemetry import IDENTITY, Telemetry, identify

OTHER = "other"
"""Pages, files, and paths that do not exist."""

log = logging.getLogger(__name__)


class Exchange:
    """Names the request, counts and logs its answer, and answers HEAD as GET without a body."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        identity = identify(headers.get("x-request-id"), headers.get("traceparent"))
        inner = dict(scope)
        if inner["method"] == "HEAD":
            # The server still knows that it was a HEAD, and sends no body.
            inner["method"] = "GET"
        status = 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                answer["X-Request-Id"] = identity.request_id
                answer["X-Content-Type-Options"] = "nosniff"
            await send(message)

        began = perf_counter()
        token = IDENTITY.set(identity)
        try:
            await self._app(inner, receive, named)
        finally:
            pattern, code = _pattern(inner), inner.get(CODE_KEY, "ok")
            self._telemetry.count_request(pattern, status, code)
            spent_ms = 1000 * (perf_counter() - began)
            log.info("%s %s %d %s %.1f ms", scope["method"], pattern, status, code, spent_ms)
            IDENTITY.reset(token)


def _pattern(scope: Scope) -> str:
    """The path as it was declared: what a client made up is no metric label and no log line."""
    return getattr(scope.get("route"), "path", OTHER)


class Cors(CORSMiddleware):
    """starlette's, but a refused preflight is a problem document like every refusal."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        scope: Scope = {"path": "*"}
        return problem(scope, BadRequest("This origin, method or header is not allowed."))
