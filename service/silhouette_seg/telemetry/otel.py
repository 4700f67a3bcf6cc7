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
"""Path below the collector's URL to which OTLP over HTTP sends traces."""
FLUSH_TIMEOUT_S = 2.0
"""Maximum seconds for which the shutdown waits to send the last spans to the collector."""
UNTRACED_PATHS = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Paths without traces: machines poll them every few seconds."""
LIVE_STAGES = ("queue", "infer")
"""Stages for which `record_stages` adds no span, because they already have one."""
MIN_SPAN_S = 0.0005
"""Shortest wait in a queue that becomes a span, in seconds."""


class _SpanOptions(TypedDict):
    record_exception: bool
    set_status_on_exception: bool


_NO_EXCEPTION_TEXT: _SpanOptions = {"record_exception": False, "set_status_on_exception": False}
"""Options of a span that keep the text of an exception out of it.

The text may describe a photo, so spans record only the code of an error.
"""
_ENGINE_WAIT_S: ContextVar[float] = ContextVar("engine_wait_s", default=0.0)
"""Seconds that the current image has waited for models so far, the photo queue excluded."""
_w3c = TraceContextTextMapPropagator()


def open_otel_tracing(endpoint: str, version: str) -> "OtelTracing":
    """Returns tracing that sends spans to the collector at the URL `endpoint`.

    A thread of the SDK sends them. `version` is that of the service. OpenTelemetry's environment
    variables apply: sampler, headers, service name.
    """
    defaults = Resource({"service.name": SERVICE_NAME, "service.version": version})
    resource = defaults.merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + TRACES_PATH)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OtelTracing(provider)


class OtelTracing:
    """Tracing by OpenTelemetry: creates the spans of requests, inferences and stages.

    It has a tracer provider of its own, so that it exports no spans of other libraries.
    """

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
        """Yields a span `infer` for one inference with the model of that name.

        In the block it is the parent that a remote inference server gets for its own spans. Without
        a traced request the span records nothing.
        """
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
        """Creates the spans of an image's stages from their seconds by name; the last ends now.

        `queue` is the wait in the photo queue, which comes first, plus the waits for models.
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
        """Adds a finished child to the current span.

        `start_ns` is its start in nanoseconds since 1970, and `duration_s` its length in seconds.
        """
        attributes = {"silhouette.model": model} if model else None
        span = self._tracer.start_span(name, start_time=start_ns, attributes=attributes)
        span.end(start_ns + _to_ns(duration_s))

    def close(self) -> None:
        """Sends the last spans to the collector; blocks for at most `FLUSH_TIMEOUT_S` seconds."""
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
    """Returns the ids of a request with `span` as the parent for calls to other services."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, trace.set_span_in_context(span, Context()))
    traceparent = carrier.get("traceparent")
    if traceparent is None:
        return identity
    return replace(identity, trace_id=traceparent.split("-")[1], traceparent=traceparent)


def _to_ns(seconds: float) -> int:
    return round(1e9 * seconds)
