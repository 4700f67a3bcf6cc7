"""Traces as OpenTelemetry has them, sent over OTLP. The one file that knows its SDK.

    POST /v1/segment         the caller's span is its parent
    ├── queue                the photo waited for its turn
    ├── decode
    ├── route                the face detector's `infer` is in it
    │   └── infer
    ├── infer                the parent of the spans that Triton makes
    │   └── queue            the image waited for the engine
    ├── post
    └── encode

`infer` is a span while it lasts, because Triton is told of it. The others are made when an image
is done, of the seconds that were measured anyway, and lie end to end: where a photo had a second
look each holds both. Frames of streams have none: thirty a second would say no more than metrics.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from threading import Thread
from time import time_ns
from typing import TypedDict

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from silhouette_seg.telemetry.request_id import IDENTITY, Identity
from silhouette_seg.telemetry.tracing import NO_OP_SPAN, InferenceSpan, NoOpSpan, RequestSpan

SERVICE_NAME = "silhouette"
TRACES_PATH = "/v1/traces"
"""Of the protocol, below the collector's address."""
FLUSH_TIMEOUT_S = 2.0
"""For the last spans to be taken; a collector that is gone does not keep the service from going."""
UNTRACED_PATHS = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Asked every few seconds by machines."""
LIVE_STAGES = ("queue", "infer")
"""Stages that are spans of their own already."""
MIN_SPAN_S = 0.0005
"""Of a wait that is worth a span."""


class _NoExceptionText(TypedDict):
    record_exception: bool
    set_status_on_exception: bool


_NO_EXCEPTION_TEXT: _NoExceptionText = {"record_exception": False, "set_status_on_exception": False}
"""What an exception says may be about a photo: a span has its code."""
_ENGINE_WAIT_S: ContextVar[float] = ContextVar("waited", default=0.0)
"""Seconds that the image in work waited for engines."""
_w3c = TraceContextTextMapPropagator()


def open_otel_tracing(endpoint: str, version: str) -> "OtelTracing":
    """Sends to the collector at that address, from a thread of the SDK's.

    What else OpenTelemetry's own variables say holds: sampler, headers, name of the service.
    """
    ours = Resource({"service.name": SERVICE_NAME, "service.version": version})
    resource = ours.merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + TRACES_PATH)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OtelTracing(provider)


class OtelTracing:
    """The provider is its own, not the process's: no library's spans come in."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(SERVICE_NAME)

    @contextmanager
    def request_span(self, identity: Identity, method: str, path: str) -> Iterator[RequestSpan]:
        if path in UNTRACED_PATHS:
            yield NoOpSpan(identity)
            return
        _ENGINE_WAIT_S.set(0.0)
        with self._tracer.start_as_current_span(
            method,
            context=_w3c.extract({"traceparent": identity.traceparent or ""}, Context()),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "silhouette.request_id": identity.request_id,
            },
            **_NO_EXCEPTION_TEXT,
        ) as span:
            yield _OtelRequestSpan(span, method, _with_span(identity, span))

    @contextmanager
    def inference_span(self, model: str) -> Iterator[InferenceSpan]:
        """Its span is what the engine passes on, in the place of the request's."""
        identity = IDENTITY.get()
        if identity is None or not trace.get_current_span().is_recording():
            yield NO_OP_SPAN
            return
        with self._tracer.start_as_current_span(
            "infer", attributes={"silhouette.model": model}, **_NO_EXCEPTION_TEXT
        ) as span:
            token = IDENTITY.set(_with_span(identity, span))
            try:
                yield _OtelInferenceSpan(self, span)
            except Exception as error:
                _set_error(span, getattr(error, "code", type(error).__name__))
                raise
            finally:
                IDENTITY.reset(token)

    def record_stages(self, model: str, seconds: Mapping[str, float]) -> None:
        """Backwards from now. The wait for a turn, which comes first, is what is left of `queue`
        without the waits for engines.
        """
        waited_s = _ENGINE_WAIT_S.get()
        _ENGINE_WAIT_S.set(0.0)
        if not trace.get_current_span().is_recording():
            return
        began = time_ns() - _ns(sum(seconds.values()))
        turn_s = max(0.0, seconds.get("queue", 0.0) - waited_s)
        if turn_s >= MIN_SPAN_S:
            self.add_finished_span("queue", began, turn_s)
        began += _ns(turn_s)
        for stage, spent_s in {**seconds, "queue": waited_s}.items():
            if stage not in LIVE_STAGES:
                self.add_finished_span(stage, began, spent_s, model=model)
            began += _ns(spent_s)

    def add_finished_span(
        self, name: str, began: int, spent_s: float, *, model: str | None = None
    ) -> None:
        """A span that is over, below the current one; `began` in nanoseconds since 1970."""
        attributes = {"silhouette.model": model} if model else None
        span = self._tracer.start_span(name, start_time=began, attributes=attributes)
        span.end(began + _ns(spent_s))

    def close(self) -> None:
        """Blocks while the last spans are sent, but not long."""
        sending = Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(FLUSH_TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class _OtelRequestSpan:
    _span: Span
    _method: str
    identity: Identity

    def set_response(self, route: str, status: int, code: str) -> None:
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes(
            {"http.route": route, "http.response.status_code": status, "silhouette.code": code}
        )
        if status >= 500:
            _set_error(self._span, code)


@dataclass(frozen=True, slots=True)
class _OtelInferenceSpan:
    _tracing: OtelTracing
    _span: Span

    def set_queue_time(self, queue_s: float) -> None:
        _ENGINE_WAIT_S.set(_ENGINE_WAIT_S.get() + queue_s)
        if queue_s >= MIN_SPAN_S and isinstance(self._span, ReadableSpan):
            self._tracing.add_finished_span("queue", self._span.start_time or time_ns(), queue_s)


def _set_error(span: Span, code: object) -> None:
    span.set_attribute("error.type", str(code))
    span.set_status(StatusCode.ERROR)


def _with_span(identity: Identity, span: Span) -> Identity:
    """With that span as what is passed on."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, trace.set_span_in_context(span, Context()))
    traceparent = carrier.get("traceparent")
    if traceparent is None:
        return identity
    return replace(identity, trace_id=traceparent.split("-")[1], traceparent=traceparent)


def _ns(seconds: float) -> int:
    return round(1e9 * seconds)
