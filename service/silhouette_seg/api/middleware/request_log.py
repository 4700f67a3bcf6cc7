"""ASGI middleware around every request: its identity, metrics, trace and log line."""

import logging
from dataclasses import dataclass
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from silhouette_seg.api.problem_details import CODE_KEY
from silhouette_seg.telemetry import (
    IDENTITY,
    Identity,
    RequestRecord,
    Telemetry,
    log_fields,
    read_identity,
)

UNMATCHED_ROUTE = "other"
"""Pages, files, and paths that do not exist."""

log = logging.getLogger(__name__)


class RequestLogMiddleware:
    """Names the request, counts and logs its answer, and answers HEAD as GET without a body."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        identity = read_identity(headers.get("x-request-id"), headers.get("traceparent"))
        inner = dict(scope)
        if inner["method"] == "HEAD":
            # The server still knows that it was a HEAD, and sends no body.
            inner["method"] = "GET"
        with self._telemetry.tracing.request_span(identity, scope["method"], scope["path"]) as span:
            token = IDENTITY.set(span.identity)
            recorder = _RequestRecorder(receive, send, span.identity)
            try:
                await self._app(inner, recorder.receive, recorder.send)
            finally:
                answered = recorder.answered(_route_pattern(inner), inner.get(CODE_KEY, "ok"))
                self._telemetry.count_request(answered)
                span.set_response(answered.route, answered.status, answered.code)
                _log(scope["method"], answered, recorder.model or _model_from_path(inner, answered))
                IDENTITY.reset(token)


@dataclass(slots=True)
class _RequestRecorder:
    """What goes in and out of one request: counted, and named."""

    _receive: Receive
    _send: Send
    _identity: Identity
    status: int = 0
    model: str | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = perf_counter()

    async def receive(self) -> Message:
        message = await self._receive()
        self.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            answer = MutableHeaders(scope=message)
            answer["X-Request-Id"] = self._identity.request_id
            self.model = answer.get("x-model")
        else:
            self.bytes_out += len(message.get("body", b""))
        await self._send(message)

    def answered(self, route: str, code: str) -> RequestRecord:
        spent_s = perf_counter() - self.began
        return RequestRecord(route, self.status, code, spent_s, self.bytes_in, self.bytes_out)


def _route_pattern(scope: Scope) -> str:
    """The path as it was declared: what a client made up is no metric label and no log line."""
    return getattr(scope.get("route"), "path", UNMATCHED_ROUTE)


def _model_from_path(scope: Scope, answered: RequestRecord) -> str | None:
    """That of a path: there is one of that name, or the answer would be a refusal."""
    name = scope.get("path_params", {}).get("model")
    return str(name) if name and answered.status == 200 else None


def _log(method: str, answered: RequestRecord, model: str | None) -> None:
    spent_ms = 1000 * answered.seconds
    log.info(
        "%s %s %d %s %.1f ms",
        *(method, answered.route, answered.status, answered.code, spent_ms),
        extra=log_fields(
            method=method,
            route=answered.route,
            status=answered.status,
            code=answered.code,
            duration_ms=round(spent_ms, 1),
            model=model,
        ),
    )
