import json
import logging
import logging.config
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry import (
    IDENTITY,
    Identity,
    JsonFormatter,
    Telemetry,
    TextFormatter,
    identify,
    logging_config,
    read_traceparent,
    server_timing,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(telemetry.exposition().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.values()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_are_counted_by_route_status_and_code():
    telemetry = Telemetry()
    telemetry.count_request("/v1/segment", 200)
    telemetry.count_request("/v1/segment", 503, "overloaded")
    telemetry.count_request("/v1/segment", 503, "overloaded")
    read = samples(telemetry)
    assert read["silhouette_requests_total", ("/v1/segment", "200", "ok")] == 1
    assert read["silhouette_requests_total", ("/v1/segment", "503", "overloaded")] == 2


def test_stages_are_seconds_by_model():
    telemetry = Telemetry()
    telemetry.observe_stages("connectnet", {"decode": 0.25, "infer": 0.5})
    telemetry.observe_stages("connectnet", {"decode": 0.5})
    read = samples(telemetry)
    assert read["silhouette_stage_seconds_sum", ("connectnet", "decode")] == 0.75
    assert read["silhouette_stage_seconds_count", ("connectnet", "decode")] == 2
    assert read["silhouette_stage_seconds_sum", ("connectnet", "infer")] == 0.5


def test_degraded_is_asked_when_read():
    telemetry = Telemetry()
    provider = ["cpu"]
    telemetry.watch_degraded("connectnet", lambda: provider == ["cpu"])
    assert samples(telemetry)["silhouette_engine_degraded", ("connectnet",)] == 1
    provider[0] = "tensorrt"
    assert samples(telemetry)["silhouette_engine_degraded", ("connectnet",)] == 0


def test_queue_depth_is_asked_when_read():
    telemetry = Telemetry()
    waiting = [1, 2, 3]
    telemetry.watch_queue("connectnet", lambda: len(waiting))
    assert samples(telemetry)["silhouette_queue_depth", ("connectnet",)] == 3
    waiting.clear()
    assert samples(telemetry)["silhouette_queue_depth", ("connectnet",)] == 0


def test_in_flight_and_batches():
    telemetry = Telemetry()
    telemetry.observe_batch("connectnet", 3)
    with telemetry.in_flight.track_inprogress():
        read = samples(telemetry)
    assert read["silhouette_requests_in_flight", ()] == 1
    assert read["silhouette_batch_rows_sum", ("connectnet",)] == 3
    assert samples(telemetry)["silhouette_requests_in_flight", ()] == 0


def test_two_applications_share_no_numbers():
    one, other = Telemetry(), Telemetry()
    one.count_request("/", 200)
    assert ("silhouette_requests_total", ("/", "200", "ok")) not in samples(other)


def test_server_timing_is_milliseconds_in_order():
    assert server_timing({"decode": 0.0012, "queue": 0.0}) == "decode;dur=1.20, queue;dur=0.00"
    assert server_timing({}) == ""


@pytest.mark.parametrize("version", ["00", "01"])
def test_traceparent_gives_the_trace_id(version):
    assert read_traceparent(f"{version}-{TRACE}-{PARENT}-01") == TRACE


def test_a_later_traceparent_may_hold_more():
    assert read_traceparent(f"01-{TRACE}-{PARENT}-01-more") == TRACE


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
    assert read_traceparent(header) is None


def test_the_callers_request_id_is_taken_over():
    assert identify("order-17", None) == Identity("order-17", None)
    traced = identify("order-17", f" 00-{TRACE}-{PARENT}-01")
    assert traced == Identity("order-17", TRACE, f"00-{TRACE}-{PARENT}-01")


def test_a_trace_without_request_id_gives_its_own():
    header = f"00-{TRACE}-{PARENT}-01"
    assert identify(None, header) == Identity(TRACE, TRACE, header)


def test_made_ids_differ():
    assert identify(None, None).request_id != identify(None, None).request_id


@pytest.mark.parametrize("unsafe", ["", "a b", "a\nb", "x" * 129, "é", '"'])
def test_an_unsafe_request_id_is_replaced(unsafe):
    assert identify(unsafe, None).request_id != unsafe


@given(st.text(), st.text())
def test_any_headers_give_an_id_that_is_safe_everywhere(request_id, traceparent):
    made = identify(request_id, traceparent).request_id
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
        "service.app", logging.ERROR, "app.py", 1, "it %s", ("broke",), failure
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
    assert (event["level"], event["logger"]) == ("ERROR", "service.app")
    assert (event["request_id"], event["trace_id"]) == ("order-17", TRACE)
    assert "KeyError" in event["exception"]


def test_json_line_without_request_has_no_ids(record):
    assert "request_id" not in json.loads(JsonFormatter().format(record))


@pytest.mark.usefixtures("identity")
def test_text_line_carries_the_request_id_and_the_traceback(record):
    line = TextFormatter().format(record)
    assert "ERROR service.app [order-17] it broke" in line
    assert "KeyError" in line


def test_text_line_without_request(record):
    assert "ERROR service.app it broke" in TextFormatter().format(record)


@pytest.mark.parametrize(("log_format", "kind"), [("text", TextFormatter), ("json", JsonFormatter)])
def test_logging_config_is_one_that_logging_takes(log_format, kind):
    configurator = logging.config.DictConfigurator(logging_config(log_format))
    made = configurator.configure_formatter(configurator.config["formatters"]["line"])
    assert isinstance(made, kind)
