import asyncio
import json
import logging
import logging.config
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette_seg.errors import EngineFailed
from silhouette_seg.telemetry import (
    IDENTITY,
    Identity,
    JsonFormatter,
    RequestRecord,
    Telemetry,
    TextFormatter,
    log_fields,
    logging_config,
    monitor_loop_lag,
    parse_trace_id,
    read_identity,
    server_timing,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


PHOTO_STAGES = {"decode": 0.25, "infer": 0.5}


@dataclass(frozen=True)
class Label:
    label: str


@dataclass(frozen=True)
class Route:
    domain: Label


@dataclass(frozen=True)
class Quality:
    foreground: bool = True
    coverage: float = 0.3
    connectivity: float = 0.995
    confidence: float = 0.9


@dataclass(frozen=True)
class Matte:
    quality: Quality = Quality()
    decision: Route | None = None
    passes: int = 1


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
def read(telemetry):
    """The value of a metric with those labels; None where there is none."""

    def value(name, **labels):
        return telemetry.registry.get_sample_value(f"silhouette_{name}", labels)

    return value


def test_requests_are_counted_by_route_status_and_code(telemetry, read):
    telemetry.count_request(RequestRecord("/v1/segment", 200))
    for _ in range(2):
        telemetry.count_request(RequestRecord("/v1/segment", 503, "overloaded"))
    route = {"route": "/v1/segment"}
    assert read("requests_total", **route, status="200", code="ok") == 1
    assert read("requests_total", **route, status="503", code="overloaded") == 2


def test_requests_have_a_duration_and_sizes_by_route(telemetry, read):
    telemetry.count_request(
        RequestRecord("/v1/segment", 200, "ok", 0.04, bytes_in=900, bytes_out=70)
    )
    telemetry.count_request(
        RequestRecord("/v1/segment", 422, "x", 0.001, bytes_in=100, bytes_out=30)
    )
    assert read("request_seconds_count", route="/v1/segment") == 2
    assert read("request_seconds_bucket", route="/v1/segment", le="0.001") == 1
    assert read("request_seconds_bucket", route="/v1/segment", le="0.05") == 2
    assert read("request_bytes_total", route="/v1/segment") == 1000
    assert read("response_bytes_total", route="/v1/segment") == 100


def test_stages_are_seconds_by_model_and_kind(telemetry, read):
    telemetry.observe_stages("connectnet", PHOTO_STAGES)
    telemetry.observe_stages("connectnet", {"decode": 0.5})
    telemetry.observe_stages("connectnet", {"decode": 0.125}, kind="frame")
    photo = {"model": "connectnet", "kind": "photo"}
    assert read("stage_seconds_sum", **photo, stage="decode") == 0.75
    assert read("stage_seconds_count", **photo, stage="decode") == 2
    assert read("stage_seconds_sum", **photo, stage="infer") == 0.5
    assert read("stage_seconds_sum", model="connectnet", kind="frame", stage="decode") == 0.125


def test_an_image_tells_where_its_time_went_and_what_was_found(telemetry, read):
    routed = Route(Label("half_body"))
    telemetry.observe_image("md_trisenet", PHOTO_STAGES, Matte(decision=routed, passes=2))
    photo = {"model": "md_trisenet", "kind": "photo"}
    assert read("stage_seconds_count", **photo, stage="infer") == 1
    assert read("images_total", **photo, foreground="present") == 1
    assert read("domains_total", **photo, domain="half_body") == 1
    assert read("second_looks_total", model="md_trisenet") == 1
    assert read("mask_confidence_sum", **photo) == 0.9
    assert read("mask_coverage_sum", **photo) == 0.3
    assert read("mask_connectivity_sum", **photo) == 0.995


def test_a_mask_of_nobody_is_counted_and_not_measured(telemetry, read):
    telemetry.observe_image("connectnet", PHOTO_STAGES, Matte(Quality(foreground=False)))
    photo = {"model": "connectnet", "kind": "photo"}
    assert read("images_total", **photo, foreground="none") == 1
    assert read("images_total", **photo, foreground="present") == 0
    assert read("mask_confidence_count", **photo) == 0
    assert read("second_looks_total", model="connectnet") == 0


def test_an_engine_that_fails_is_counted_by_the_code_of_the_problem(telemetry, read):
    for error in (EngineFailed("broke"), EngineFailed("again"), ValueError("ours")):
        with pytest.raises(type(error)), telemetry.track_inference("connectnet"):
            raise error
    with telemetry.track_inference("connectnet") as watch:
        watch.set_queue_time(0.1)
    assert read("engine_failures_total", model="connectnet", code="engine_failed") == 2
    assert read("engine_failures_total", model="connectnet", code="internal") == 1


def test_a_caller_that_left_is_no_failure_of_the_engine(telemetry, read):
    with pytest.raises(asyncio.CancelledError), telemetry.track_inference("connectnet"):
        raise asyncio.CancelledError
    assert b"silhouette_engine_failures_total{" not in telemetry.exposition()


@pytest.mark.parametrize("name", ["queue_depth", "engine_degraded"])
def test_engines_are_asked_when_the_metrics_are_read(telemetry, read, name):
    asked = {
        "queue_depth": telemetry.engines.track_queue_depth,
        "engine_degraded": telemetry.engines.track_degraded,
    }
    answers = [1]
    asked[name]("connectnet", lambda: answers[0])
    assert read(name, model="connectnet") == 1
    answers[0] = 0
    assert read(name, model="connectnet") == 0


def test_provider_of_a_model_is_asked_when_the_metrics_are_read(telemetry, read):
    provider = ["triton"]
    telemetry.engines.track_model("connectnet", "0af7", lambda: provider[0])
    labels = {"model": "connectnet", "digest": "sha256:0af7"}
    assert read("model_info", **labels, provider="triton") == 1
    provider[0] = "triton:cuda"
    assert read("model_info", **labels, provider="triton:cuda") == 1
    assert read("model_info", **labels, provider="triton") is None


def test_batches_and_requests_in_work(telemetry, read):
    telemetry.engines.observe_batch("connectnet", 3)
    with telemetry.requests_in_flight.track_inprogress():
        assert read("requests_in_flight") == 1
    assert read("requests_in_flight") == 0
    assert read("batch_rows_sum", model="connectnet") == 3


def test_streams_are_those_that_are_there_and_none_is_zero(telemetry, read):
    assert read("streams", transport="webrtc") == 0
    with telemetry.track_stream("websocket"), telemetry.track_stream("websocket"):
        assert read("streams", transport="websocket") == 2
        assert read("streams", transport="webrtc") == 0
    assert read("streams", transport="websocket") == 0


def test_streams_end_for_reasons(telemetry, read):
    telemetry.count_stream_end("websocket", "idle")
    assert read("streams_ended_total", transport="websocket", reason="idle") == 1


def test_frames_have_outcomes_and_an_age(telemetry, read):
    telemetry.count_frame("websocket", "skipped")
    telemetry.observe_frame_age("websocket", 0.03)
    assert read("frames_total", transport="websocket", outcome="skipped") == 1
    assert read("frame_seconds_bucket", transport="websocket", le="0.033") == 1
    assert read("frame_seconds_bucket", transport="websocket", le="0.02") == 0


def test_release_and_readiness(telemetry, read):
    ready = [False]
    telemetry.set_version("1.2.3")
    telemetry.track_ready(lambda: ready[0])
    assert read("info", version="1.2.3") == 1
    assert read("ready") == 0
    ready[0] = True
    assert read("ready") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_process_tells_of_its_memory_and_processor_time(telemetry):
    value = telemetry.registry.get_sample_value
    assert value("process_resident_memory_bytes") > 2**20
    assert value("process_cpu_seconds_total") > 0


async def test_a_loop_that_stood_still_is_late(telemetry, read):
    now, sleeps = 0.0, iter(range(2))

    async def oversleep(asked_s):
        nonlocal now
        next(sleeps)
        now += asked_s + 0.04

    with pytest.raises(RuntimeError, match="StopIteration"):
        await monitor_loop_lag(telemetry.observe_loop_lag, sleep=oversleep, clock=lambda: now)
    assert read("loop_lag_seconds_count") == 2
    assert read("loop_lag_seconds_bucket", le="0.025") == 0
    assert read("loop_lag_seconds_bucket", le="0.05") == 2


def test_metrics_are_as_of_when_they_were_read(telemetry):
    telemetry.count_request(RequestRecord("/", 200))
    write = telemetry.snapshot()
    telemetry.count_request(RequestRecord("/", 200))
    assert b'silhouette_requests_total{code="ok",route="/",status="200"} 1.0' in write()


def test_two_applications_share_no_numbers(telemetry, read):
    Telemetry().count_request(RequestRecord("/", 200))
    assert read("requests_total", route="/", status="200", code="ok") is None


def test_server_timing_is_milliseconds_in_order():
    assert server_timing({"decode": 0.0012, "queue": 0.0}) == "decode;dur=1.20, queue;dur=0.00"
    assert server_timing({}) == ""


@pytest.mark.parametrize("version", ["00", "01"])
def test_traceparent_gives_the_trace_id(version):
    assert parse_trace_id(f"{version}-{TRACE}-{PARENT}-01") == TRACE


def test_a_later_traceparent_may_hold_more():
    assert parse_trace_id(f"01-{TRACE}-{PARENT}-01-more") == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
    ],
)
def test_an_invalid_traceparent_is_none(header):
    assert parse_trace_id(header) is None


def test_the_callers_request_id_is_taken_over():
    assert read_identity("order-17", None) == Identity("order-17", None)
    traced = read_identity("order-17", f" 00-{TRACE}-{PARENT}-01")
    assert traced == Identity("order-17", TRACE, f"00-{TRACE}-{PARENT}-01")


def test_a_trace_without_request_id_gives_its_own():
    header = f"00-{TRACE}-{PARENT}-01"
    assert read_identity(None, header) == Identity(TRACE, TRACE, header)


def test_made_ids_differ():
    assert read_identity(None, None).request_id != read_identity(None, None).request_id


@pytest.mark.parametrize("unsafe", ["", "a b", "a\nb", "x" * 129, "é", '"'])
def test_an_unsafe_request_id_is_replaced(unsafe):
    assert read_identity(unsafe, None).request_id != unsafe


@given(st.text(), st.text())
def test_any_headers_give_an_id_that_is_safe_everywhere(request_id, traceparent):
    made = read_identity(request_id, traceparent).request_id
    assert 1 <= len(made) <= 128
    assert made.isascii()
    assert made.isprintable()
    assert " " not in made


@pytest.fixture
def record():
    try:
        raise KeyError("cause")
    except KeyError:
        failure = sys.exc_info()
    return logging.LogRecord(
        "silhouette_seg.app", logging.ERROR, "app.py", 1, "it %s", ("broke",), failure
    )


@pytest.fixture
def identity():
    token = IDENTITY.set(Identity("order-17", TRACE))
    yield
    IDENTITY.reset(token)


@pytest.mark.usefixtures("identity")
def test_json_line_is_one_object_with_the_ids(record):
    line = JsonFormatter().format(record)
    event = json.loads(line)
    assert "\n" not in line
    assert event["message"] == "it broke"
    assert (event["level"], event["logger"]) == ("ERROR", "silhouette_seg.app")
    assert (event["request_id"], event["trace_id"]) == ("order-17", TRACE)
    assert "KeyError" in event["exception"]


def test_json_line_without_request_has_no_ids(record):
    assert "request_id" not in json.loads(JsonFormatter().format(record))


@pytest.mark.usefixtures("identity")
def test_text_line_carries_the_request_id_and_the_traceback(record):
    line = TextFormatter().format(record)
    assert "ERROR silhouette_seg.app [order-17] it broke" in line
    assert "KeyError" in line


def test_text_line_without_request(record):
    assert "ERROR silhouette_seg.app it broke" in TextFormatter().format(record)


def logged(message, *args, **extra):
    logger = logging.Logger("silhouette_seg.api.middleware.request_log")
    return logger.makeRecord(logger.name, logging.INFO, "x.py", 1, message, args, None, extra=extra)


@pytest.mark.usefixtures("identity")
def test_fields_of_a_record_are_fields_of_its_json_line_and_not_of_its_text():
    made = logged("%s %d", "POST", 200, **log_fields(method="POST", status=200, model=None))
    event = json.loads(JsonFormatter().format(made))
    assert (event["method"], event["status"], event["message"]) == ("POST", 200, "POST 200")
    assert "model" not in event
    assert (
        TextFormatter()
        .format(made)
        .endswith("INFO silhouette_seg.api.middleware.request_log [order-17] POST 200")
    )


@pytest.mark.usefixtures("identity")
def test_fields_hide_nothing_that_every_line_has():
    event = json.loads(JsonFormatter().format(logged("said", **log_fields(level=1, request_id=2))))
    assert (event["level"], event["request_id"]) == ("INFO", "order-17")


@pytest.mark.parametrize("formatter", [TextFormatter, JsonFormatter])
def test_a_line_break_in_a_message_begins_no_line(formatter):
    line = formatter().format(
        logged("odd %s", "a\nERROR silhouette_seg.app all is lost\x1b[2J\u2028z")
    )
    assert line.isprintable()
    assert "\\nERROR" in line


@pytest.mark.parametrize(("log_format", "kind"), [("text", TextFormatter), ("json", JsonFormatter)])
def test_logging_config_is_one_that_logging_takes(log_format, kind):
    configurator = logging.config.DictConfigurator(logging_config(log_format))
    made = configurator.configure_formatter(configurator.config["formatters"]["line"])
    assert isinstance(made, kind)
