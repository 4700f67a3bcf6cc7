"""What a trace holds, by the SDK's own exporter; tests/integration/test_traces.py sends one."""

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from silhouette_seg.errors import EngineFailed
from silhouette_seg.telemetry import (
    IDENTITY,
    NoOpTracing,
    Telemetry,
    open_tracing,
    read_identity,
)
from silhouette_seg.telemetry.otel import UNTRACED_PATHS, OtelTracing, open_otel_tracing
from tests.support.otlp import run_collector

ROOT = Path(__file__).resolve().parents[3]
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
    """Those that have ended, by name."""
    return lambda: {span.name: span for span in exporter.get_finished_spans()}


@pytest.fixture
def request_of(telemetry):
    """A request of a caller with that `traceparent`, as the middleware tells of it."""

    def enter(traceparent=None, path="/v1/segment"):
        return telemetry.tracing.request_span(read_identity("order-17", traceparent), "POST", path)

    return enter


@pytest.fixture
def inside(request_of):
    """Within a request: what the identity of its span is set for, and reset after."""

    with request_of() as request:
        token = IDENTITY.set(request.identity)
        yield request
        IDENTITY.reset(token)


def passed_on():
    """Trace and span, in hexadecimal, that an engine is told of."""
    _, trace, span, _ = IDENTITY.get().traceparent.split("-")
    return trace, span


def ids(span):
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def test_request_is_a_span_below_the_callers(request_of, spans):
    with request_of(f"00-{TRACE}-{PARENT}-01") as request:
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


def test_request_without_a_caller_begins_a_trace_that_its_log_lines_name(request_of, spans):
    with request_of() as request:
        request.set_response("/v1/segment", 200, "ok")
    span = spans()["POST /v1/segment"]
    assert span.parent is None
    assert request.identity.trace_id == ids(span)[0]
    assert request.identity.request_id == "order-17"


@pytest.mark.parametrize(("status", "failed"), [(404, False), (503, True)])
def test_what_is_our_fault_is_an_error(request_of, spans, status, failed):
    with request_of() as request:
        request.set_response("/v1/segment", status, "some_code")
    (span,) = spans().values()
    assert (span.status.status_code is StatusCode.ERROR) is failed
    assert ("error.type" in span.attributes) is failed


def test_an_exception_is_told_of_by_its_code_alone(request_of, telemetry, spans):
    with pytest.raises(KeyError), request_of():
        raise KeyError("canary")
    with request_of() as request:
        token = IDENTITY.set(request.identity)
        with pytest.raises(EngineFailed), telemetry.track_inference("connectnet"):
            raise EngineFailed("canary")
        IDENTITY.reset(token)
    assert spans()["infer"].attributes["error.type"] == "engine_failed"
    assert spans()["infer"].status.status_code is StatusCode.ERROR
    assert not [span.name for span in spans().values() if "canary" in span.to_json()]


@pytest.mark.parametrize("path", sorted(UNTRACED_PATHS))
def test_what_machines_ask_all_the_time_is_not_traced(request_of, spans, path):
    with request_of(f"00-{TRACE}-{PARENT}-01", path=path) as request:
        request.set_response(path, 200, "ok")
    assert spans() == {}
    assert request.identity.traceparent == f"00-{TRACE}-{PARENT}-01"


def test_a_caller_that_keeps_no_trace_gets_none_and_is_still_passed_on(request_of, spans):
    with request_of(f"00-{TRACE}-{PARENT}-00") as request:
        request.set_response("/v1/segment", 200, "ok")
    assert spans() == {}
    assert request.identity.traceparent.startswith(f"00-{TRACE}-")
    assert request.identity.traceparent.endswith("-00")


def test_an_engine_passes_on_the_span_of_its_own_work(inside, telemetry, spans):
    with telemetry.track_inference("connectnet"):
        told = passed_on()
    assert told == ids(spans()["infer"])
    assert passed_on() == tuple(inside.identity.traceparent.split("-")[1:3])
    assert spans()["infer"].attributes == {"silhouette.model": "connectnet"}
    assert f"{spans()['infer'].parent.span_id:016x}" == passed_on()[1]


def test_wait_for_an_engine_is_the_beginning_of_its_span(inside, telemetry, spans):
    with telemetry.track_inference("connectnet") as watch:
        watch.set_queue_time(0.25)
    queue, infer = spans()["queue"], spans()["infer"]
    assert queue.parent.span_id == infer.context.span_id
    assert (queue.start_time, queue.end_time - queue.start_time) == (infer.start_time, 250_000_000)


def test_stages_lie_end_to_end_until_now_after_the_wait_for_a_turn(inside, telemetry, spans):
    with telemetry.track_inference("connectnet") as watch:
        watch.set_queue_time(0.0625)
    telemetry.observe_stages("connectnet", STAGES)
    made = spans()  # of two that are called queue the later, which is the wait for a turn
    turn_s = STAGES["queue"] - 0.0625
    began = made["decode"].start_time
    offsets = {name: (made[name].start_time - began) / 1e9 for name in made.keys() - {"infer"}}
    assert offsets == {
        "queue": -turn_s,
        "decode": 0,
        "route": 0.5,
        "post": 0.5 + 0.25 + 0.0625 + 1.0,
        "encode": 0.5 + 0.25 + 0.0625 + 1.0 + 0.5,
    }
    for stage in ("decode", "route", "post", "encode"):
        assert made[stage].end_time - made[stage].start_time == 1e9 * STAGES[stage]
        assert made[stage].parent.span_id == made["infer"].parent.span_id


def test_wait_of_one_image_is_not_that_of_the_next(inside, telemetry, exporter, spans):
    with telemetry.track_inference("connectnet") as watch:
        watch.set_queue_time(0.25)
    telemetry.observe_stages("connectnet", {"queue": 0.25})
    exporter.clear()
    telemetry.observe_stages("connectnet", {"queue": 0.25})
    assert list(spans()) == ["queue"]


def test_frames_of_a_stream_have_no_spans(telemetry, spans):
    token = IDENTITY.set(read_identity(None, f"00-{TRACE}-{PARENT}-01"))
    with telemetry.track_inference("connectnet"):
        assert passed_on() == (TRACE, PARENT)
    telemetry.observe_stages("connectnet", STAGES, kind="frame")
    IDENTITY.reset(token)
    assert spans() == {}


def test_what_outlives_its_request_adds_nothing_to_it(telemetry, request_of, spans):
    with request_of() as request:
        request.set_response("/v1/webrtc", 201, "ok")
        token = IDENTITY.set(request.identity)
        inference = telemetry.track_inference("connectnet")
    with inference:
        pass
    IDENTITY.reset(token)
    assert list(spans()) == ["POST /v1/webrtc"]


def test_a_collector_that_does_not_answer_keeps_nobody_from_closing():
    with run_collector() as collector:
        collector.gate.clear()
        tracing = open_otel_tracing(collector.url, "1.2.3")
        with tracing.request_span(read_identity(None, None), "GET", "/v1/models") as request:
            request.set_response("/v1/models", 200, "ok")
        tracing.close()
        assert collector.received.is_set()
        assert not collector.spans


def test_without_the_extra_the_message_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "silhouette_seg.telemetry.otel")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(
        ValueError, match=r"opentelemetry\.sdk\.trace is missing.*silhouette\[otel]"
    ):
        open_tracing("http://127.0.0.1:4318", "1.2.3")


def test_without_a_collector_nothing_is_loaded():
    code = """
import sys, silhouette_seg.app
from silhouette_seg.telemetry import open_tracing
print(type(open_tracing(None, "1.2.3")).__name__)
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exp"))])
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split("\n")[:2] == [NoOpTracing.__name__, "[]"]
