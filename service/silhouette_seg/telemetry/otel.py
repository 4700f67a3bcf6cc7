"""OpenTelemetry traces, sent over OTLP. No other module imports the SDK.

    POST /v1/segment         child of the caller's span
    ├── queue                wait in the photo queue
    ├── decode
    ├── route                includes the `infer` of the face detector
    │   └── infer
    ├── infer                parent of the spans that Triton creates
    │   └── queue            wait in the queue of the engine
    ├── post
    └── encode

`infer` spans are live, because Triton receives their ids. The others are created when an image is
finished, from its measured stages, and lie end to end. A photo with a second pass has one span for
both passes of a stage. Frames of streams have no spans: at thirty a second they would add nothing
to the metrics.
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
"""Path of OTLP over HTTP, below the address of the collector."""
FLUSH_TIMEOUT_S = 2.0
"""Time to send the last spans; a collector that is gone does not delay the shutdown further."""
UNTRACED_PATHS = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Paths that machines poll every few seconds."""
LIVE_STAGES = ("queue", "infer")
"""Stages with spans of their own."""
MIN_SPAN_S = 0.0005
"""Shortest wait that becomes a span."""


class _SpanOptions(TypedDict):
    record_exception: bool
    set_status_on_exception: bool


_NO_EXCEPTION_TEXT: _SpanOptions = {"record_exception": False, "set_status_on_exception": False}
"""The text of an exception may describe a photo, so that spans record only its code."""
_ENGINE_WAIT_S: ContextVar[float] = ContextVar("engine_wait_s", default=0.0)
"""Seconds that the current image waited in the queues of engines."""
_w3c = TraceContextTextMapPropagator()


def open_otel_tracing(endpoint: str, version: str) -> "OtelTracing":
    """Returns tracing that sends spans to the collector at `endpoint`, from a thread of the SDK.

    OpenTelemetry's environment variables apply: sampler, headers, service name.
    """
    defaults = Resource({"service.name": SERVICE_NAME, "service.version": version})
    resource = defaults.merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + TRACES_PATH)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OtelTracing(provider)


class OtelTracing:
    """Tracing with a provider of its own, which spans of other libraries do not reach."""

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
            yield _OtelRequestSpan(span, method, _with_parent(identity, span))

    @contextmanager
    def inference_span(self, model: str) -> Iterator[InferenceSpan]:
        """Opens a span that the engine sends to its server as the parent of the server's spans."""
        identity = IDENTITY.get()
        if identity is None or not trace.get_current_span().is_recording():
            yield NO_OP_SPAN
            return
        with self._tracer.start_as_current_span(
            "infer", attributes={"silhouette.model": model}, **_NO_EXCEPTION_TEXT
        ) as span:
            token = IDENTITY.set(_with_parent(identity, span))
            try:
                yield _OtelInferenceSpan(self, span)
            except Exception as error:
                _set_error(span, getattr(error, "code", type(error).__name__))
                raise
            finally:
                IDENTITY.reset(token)

    def record_stages(self, model: str, seconds: Mapping[str, float]) -> None:
        """Creates the spans of an image, ending now.

        `queue` includes the waits for engines; the rest of it is the wait in the photo queue, which
        comes first.
        """
        engine_wait_s = _ENGINE_WAIT_S.get()
        _ENGINE_WAIT_S.set(0.0)
        if not trace.get_current_span().is_recording():
            return
        start_ns = time_ns() - _to_ns(sum(seconds.values()))
        photo_wait_s = max(0.0, seconds.get("queue", 0.0) - engine_wait_s)
        if photo_wait_s >= MIN_SPAN_S:
            self.add_finished_span("queue", start_ns, photo_wait_s)
        start_ns += _to_ns(photo_wait_s)
        for stage, duration_s in {**seconds, "queue": engine_wait_s}.items():
            if stage not in LIVE_STAGES:
                self.add_finished_span(stage, start_ns, duration_s, model=model)
            start_ns += _to_ns(duration_s)

    def add_finished_span(
        self, name: str, start_ns: int, duration_s: float, *, model: str | None = None
    ) -> None:
        """Adds a child of the current span; `start_ns` is in nanoseconds since 1970."""
        attributes = {"silhouette.model": model} if model else None
        span = self._tracer.start_span(name, start_time=start_ns, attributes=attributes)
        span.end(start_ns + _to_ns(duration_s))

    def close(self) -> None:
        """Sends the last spans; blocks for at most `FLUSH_TIMEOUT_S`."""
        flushing = Thread(target=self._provider.shutdown, name="flush spans", daemon=True)
        flushing.start()
        flushing.join(FLUSH_TIMEOUT_S)


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
            start_ns = self._span.start_time or time_ns()
            self._tracing.add_finished_span("queue", start_ns, queue_s)


def _set_error(span: Span, code: object) -> None:
    span.set_attribute("error.type", str(code))
    span.set_status(StatusCode.ERROR)


def _with_parent(identity: Identity, span: Span) -> Identity:
    """Returns the identity with `span` as the parent of calls to other services."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, trace.set_span_in_context(span, Context()))
    traceparent = carrier.get("traceparent")
    if traceparent is None:
        return identity
    return replace(identity, trace_id=traceparent.split("-")[1], traceparent=traceparent)


def _to_ns(seconds: float) -> int:
    return round(1e9 * seconds)
