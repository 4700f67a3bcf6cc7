import sys

import pytest

from silhouette_seg.telemetry import RequestRecord, Telemetry, server_timing

SEGMENT = {"route": "/v1/segment"}


def test_requests_are_counted_by_route_status_and_code(telemetry, read):
    telemetry.count_request(RequestRecord("/v1/segment", 200))
    for _ in range(2):
        telemetry.count_request(RequestRecord("/v1/segment", 503, "overloaded"))
    assert read("requests_total", **SEGMENT, status="200", code="ok") == 1
    assert read("requests_total", **SEGMENT, status="503", code="overloaded") == 2


def test_requests_have_duration_and_sizes_by_route(telemetry, read):
    for record in (
        RequestRecord("/v1/segment", 200, "ok", 0.04, bytes_in=900, bytes_out=70),
        RequestRecord("/v1/segment", 422, "x", 0.001, bytes_in=100, bytes_out=30),
    ):
        telemetry.count_request(record)
    assert read("request_seconds_count", **SEGMENT) == 2
    assert read("request_seconds_bucket", **SEGMENT, le="0.001") == 1
    assert read("request_seconds_bucket", **SEGMENT, le="0.05") == 2
    assert read("request_bytes_total", **SEGMENT) == 1000
    assert read("response_bytes_total", **SEGMENT) == 100


def test_requests_in_flight_fall_back_to_zero(telemetry, read):
    with telemetry.requests_in_flight.track_inprogress():
        assert read("requests_in_flight") == 1
    assert read("requests_in_flight") == 0


def test_streams_gauge_counts_open_streams_per_transport(telemetry, read):
    assert read("streams", transport="webrtc") == 0
    with telemetry.track_stream("websocket"), telemetry.track_stream("websocket"):
        assert read("streams", transport="websocket") == 2
        assert read("streams", transport="webrtc") == 0
    assert read("streams", transport="websocket") == 0


def test_stream_ends_are_counted_by_reason(telemetry, read):
    telemetry.count_stream_end("websocket", "idle")
    assert read("streams_ended_total", transport="websocket", reason="idle") == 1


def test_frames_have_outcome_and_age(telemetry, read):
    telemetry.count_frame("websocket", "skipped")
    telemetry.observe_frame_age("websocket", 0.03)
    assert read("frames_total", transport="websocket", outcome="skipped") == 1
    assert read("frame_seconds_bucket", transport="websocket", le="0.033") == 1
    assert read("frame_seconds_bucket", transport="websocket", le="0.02") == 0


def test_version_and_readiness_are_exported(telemetry, read):
    ready = [False]
    telemetry.set_version("1.2.3")
    telemetry.track_ready(lambda: ready[0])
    assert read("info", version="1.2.3") == 1
    assert read("ready") == 0
    ready[0] = True
    assert read("ready") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_process_metrics_include_memory_and_cpu_time(telemetry):
    value = telemetry.registry.get_sample_value
    assert value("process_resident_memory_bytes") > 2**20
    assert value("process_cpu_seconds_total") > 0


def test_snapshot_ignores_later_requests(telemetry):
    telemetry.count_request(RequestRecord("/", 200))
    write = telemetry.snapshot()
    telemetry.count_request(RequestRecord("/", 200))
    assert b'silhouette_requests_total{code="ok",route="/",status="200"} 1.0' in write()


def test_applications_share_no_counts(telemetry, read):
    Telemetry().count_request(RequestRecord("/", 200))
    assert read("requests_total", route="/", status="200", code="ok") is None


def test_server_timing_lists_milliseconds_in_order():
    assert server_timing({"decode": 0.0012, "queue": 0.0}) == "decode;dur=1.20, queue;dur=0.00"
    assert server_timing({}) == ""
