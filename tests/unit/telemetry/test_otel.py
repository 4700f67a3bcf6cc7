"""Spans of OtelTracing, read from the SDK's in-memory exporter.

tests/integration/test_observability.py sends a trace to a collector.
"""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from silhouette_seg.errors import EngineFailed
from silhouette_seg.telemetry import IDENTITY, Telemetry, read_identity
from silhouette_seg.telemetry.otel import UNTRACED_PATHS, OtelTracing, open_otel_tracing
from tests.support.otlp import run_collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
STAGES = {"decode": 0.5, "route": 0.25, "queue": 0.25, "infer": 1.0, "post": 0.5, "encode": 0.125}


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def telemetry(exporter):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Telemetry(OtelTracing(provider))


@pytest.fixture
def spans(exporter):
    """Returns the finished spans by name."""
    return lambda: {span.name: span for span in exporter.get_finished_spans()}


@pytest.fixture
def open_request(telemetry):
    """Opens the span of a request with a `traceparent`, as the middleware does."""

    def enter(traceparent=None, path="/v1/segment"):
        return telemetry.tracing.request_span(read_identity("order-17", traceparent), "POST", path)

    return enter


@pytest.fixture
def request_span(open_request):
    """Span of the current request."""

    with open_request() as request:
        token = IDENTITY.set(request.identity)
        yield request
        IDENTITY.reset(token)


def current_parent():
    """Ids of the trace and the span that an engine sends to its server, in hexadecimal."""
    _, trace, span, _ = IDENTITY.get().traceparent.split("-")
    return trace, span


def ids(span):
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def test_request_span_is_child_of_callers_span(open_request, spans):
    with open_request(f"00-{TRACE}-{PARENT}-01") as request:
        request.set_response("/v1/segment", 200, "ok")
    span = spans()["POST /v1/segment"]
    assert ids(span)[0] == TRACE == request.identity.trace_id
    assert f"{span.parent.span_id:016x}" == PARENT
    assert request.identity.traceparent.split("-")[1:3] == [*ids(span)]
    assert span.kind is SpanKind.SERVER
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/segment",
        "http.response.status_code": 200,
        "silhouette.code": "ok",
        "silhouette.request_id": "order-17",
    }
    assert span.status.status_code is StatusCode.UNSET


def test_request_without_traceparent_starts_a_trace(open_request, spans):
    with open_request() as request:
        request.set_response("/v1/segment", 200, "ok")
    span = spans()["POST /v1/segment"]
    assert span.parent is None
    assert request.identity.trace_id == ids(span)[0]
    assert request.identity.request_id == "order-17"


@pytest.mark.parametrize(("status", "failed"), [(404, False), (503, True)])
def test_request_span_is_error_for_server_errors_only(open_request, spans, status, failed):
    with open_request() as request:
        request.set_response("/v1/segment", status, "some_code")
    (span,) = spans().values()
    assert (span.status.status_code is StatusCode.ERROR) is failed
    assert ("error.type" in span.attributes) is failed


def test_exception_is_recorded_by_its_code_alone(open_request, telemetry, spans):
    with pytest.raises(KeyError), open_request():
        raise KeyError("canary")
    with open_request() as request:
        token = IDENTITY.set(request.identity)
        with pytest.raises(EngineFailed), telemetry.track_inference("connectnet"):
            raise EngineFailed("canary")
        IDENTITY.reset(token)
    assert spans()["infer"].attributes["error.type"] == "engine_failed"
    assert spans()["infer"].status.status_code is StatusCode.ERROR
    assert not [span.name for span in spans().values() if "canary" in span.to_json()]


@pytest.mark.parametrize("path", sorted(UNTRACED_PATHS))
def test_polled_path_has_no_span(open_request, spans, path):
    with open_request(f"00-{TRACE}-{PARENT}-01", path=path) as request:
        request.set_response(path, 200, "ok")
    assert spans() == {}
    assert request.identity.traceparent == f"00-{TRACE}-{PARENT}-01"


def test_unsampled_trace_has_no_span_but_is_propagated(open_request, spans):
    with open_request(f"00-{TRACE}-{PARENT}-00") as request:
        request.set_response("/v1/segment", 200, "ok")
    assert spans() == {}
    assert request.identity.traceparent.startswith(f"00-{TRACE}-")
    assert request.identity.traceparent.endswith("-00")


def test_inference_span_is_current_parent_while_open(request_span, telemetry, spans):
    with telemetry.track_inference("connectnet"):
        during = current_parent()
    assert during == ids(spans()["infer"])
    assert current_parent() == tuple(request_span.identity.traceparent.split("-")[1:3])
    assert spans()["infer"].attributes == {"silhouette.model": "connectnet"}
    assert f"{spans()['infer'].parent.span_id:016x}" == current_parent()[1]


def test_queue_span_is_the_start_of_its_inference_span(request_span, telemetry, spans):
    with telemetry.track_inference("connectnet") as span:
        span.set_queue_time(0.25)
    queue, infer = spans()["queue"], spans()["infer"]
    assert queue.parent.span_id == infer.context.span_id
    assert (queue.start_time, queue.end_time - queue.start_time) == (infer.start_time, 250_000_000)


def test_stage_spans_follow_the_photo_queue_end_to_end(request_span, telemetry, spans):
    with telemetry.track_inference("connectnet") as span:
        span.set_queue_time(0.0625)
    telemetry.observe_stages("connectnet", STAGES)
    by_name = spans()  # of the two spans called queue the later one, the wait in the photo queue
    photo_wait_s = STAGES["queue"] - 0.0625
    start = by_name["decode"].start_time
    offsets = {n: (by_name[n].start_time - start) / 1e9 for n in by_name.keys() - {"infer"}}
    assert offsets == {
        "queue": -photo_wait_s,
        "decode": 0,
        "route": 0.5,
        "post": 0.5 + 0.25 + 0.0625 + 1.0,
        "encode": 0.5 + 0.25 + 0.0625 + 1.0 + 0.5,
    }
    for stage in ("decode", "route", "post", "encode"):
        assert by_name[stage].end_time - by_name[stage].start_time == 1e9 * STAGES[stage]
        assert by_name[stage].parent.span_id == by_name["infer"].parent.span_id


def test_queue_time_of_one_image_is_not_counted_for_the_next(
    request_span, telemetry, exporter, spans
):
    with telemetry.track_inference("connectnet") as span:
        span.set_queue_time(0.25)
    telemetry.observe_stages("connectnet", {"queue": 0.25})
    exporter.clear()
    telemetry.observe_stages("connectnet", {"queue": 0.25})
    assert list(spans()) == ["queue"]


def test_stream_frames_have_no_spans(telemetry, spans):
    token = IDENTITY.set(read_identity(None, f"00-{TRACE}-{PARENT}-01"))
    with telemetry.track_inference("connectnet"):
        assert current_parent() == (TRACE, PARENT)
    telemetry.observe_stages("connectnet", STAGES, kind="frame")
    IDENTITY.reset(token)
    assert spans() == {}


def test_inference_after_the_request_has_no_span(telemetry, open_request, spans):
    with open_request() as request:
        request.set_response("/v1/webrtc", 201, "ok")
        token = IDENTITY.set(request.identity)
        inference = telemetry.track_inference("connectnet")
    with inference:
        pass
    IDENTITY.reset(token)
    assert list(spans()) == ["POST /v1/webrtc"]


def test_close_does_not_wait_for_silent_collector():
    with run_collector() as collector:
        collector.gate.clear()
        tracing = open_otel_tracing(collector.url, "1.2.3")
        with tracing.request_span(read_identity(None, None), "GET", "/v1/models") as request:
            request.set_response("/v1/models", 200, "ok")
        tracing.close()
        assert collector.received.is_set()
        assert not collector.spans
