"""ASGI middleware that gives every HTTP request an id, a trace span, metrics and a log line."""

import logging
from dataclasses import dataclass, field
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from silhouette_seg.api.forwarding import is_forwarded
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
"""Value of the metric label `route` for pages, files, and paths that do not exist."""

log = logging.getLogger(__name__)


class RequestLogMiddleware:
    """ASGI middleware that adds `X-Request-Id` to each response, and counts and logs it.

    It also passes HEAD on as GET; the server around it still sees HEAD and sends no body. A request
    that another process has forwarded is counted and logged there.
    """

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        identity = read_identity(headers.get("x-request-id"), headers.get("traceparent"))
        if is_forwarded(scope):
            token = IDENTITY.set(identity)
            try:
                await self._app(scope, receive, send)
            finally:
                IDENTITY.reset(token)
            return
        inner = dict(scope)
        if inner["method"] == "HEAD":
            inner["method"] = "GET"
        with self._telemetry.tracing.request_span(identity, scope["method"], scope["path"]) as span:
            token = IDENTITY.set(span.identity)
            recorder = _RequestRecorder(receive, send, span.identity)
            try:
                await self._app(inner, recorder.receive, recorder.send)
            finally:
                record = recorder.record(_route_pattern(inner), inner.get(CODE_KEY, "ok"))
                model = recorder.model or _model_from_path(inner, record)
                record_request(self._telemetry, scope["method"], record, model)
                span.set_response(record.route, record.status, record.code)
                IDENTITY.reset(token)


@dataclass(slots=True)
class _RequestRecorder:
    """Wraps `receive` and `send` of one request to record its status, model and byte counts.

    It also adds the header `X-Request-Id` to the response.
    """

    _receive: Receive
    _send: Send
    _identity: Identity
    status: int = 0
    model: str | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    started: float = field(default_factory=perf_counter)

    async def receive(self) -> Message:
        message = await self._receive()
        self.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._identity.request_id
            self.model = headers.get("x-model")
        else:
            self.bytes_out += len(message.get("body", b""))
        await self._send(message)

    def record(self, route: str, code: str) -> RequestRecord:
        """Returns the route, status, error code, duration and byte counts of the request so far.

        `route` is the pattern of the route, and `code` the error code or `ok`.
        """
        duration_s = perf_counter() - self.started
        return RequestRecord(route, self.status, code, duration_s, self.bytes_in, self.bytes_out)


def _route_pattern(scope: Scope) -> str:
    """Returns the declared path of the request's route, such as `/v2/models/{model}`.

    It is `UNMATCHED_ROUTE` without one: paths that clients invent stay out of metrics and logs.
    """
    return getattr(scope.get("route"), "path", UNMATCHED_ROUTE)


def _model_from_path(scope: Scope, record: RequestRecord) -> str | None:
    """Returns the model that the path of a successful request names, else None.

    Status 200 shows that a model of that name exists, so that the log has no text of a client.
    """
    name = scope.get("path_params", {}).get("model")
    return str(name) if name and record.status == 200 else None


def record_request(
    telemetry: Telemetry, method: str, record: RequestRecord, model: str | None = None
) -> None:
    """Counts a finished request in the metrics, and writes its log line.

    `method` and `model` are for the log alone. `model` is None if no model ran.
    """
    telemetry.count_request(record)
    duration_ms = 1000 * record.seconds
    log.info(
        "%s %s %d %s %.1f ms",
        *(method, record.route, record.status, record.code, duration_ms),
        extra=log_fields(
            method=method,
            route=record.route,
            status=record.status,
            code=record.code,
            duration_ms=round(duration_ms, 1),
            model=model,
        ),
    )
