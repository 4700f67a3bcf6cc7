"""Metrics, log lines and traces of requests."""

import io
import json
import logging
import logging.config
from contextlib import contextmanager
from math import prod

import httpx

from silhouette_seg.telemetry import logging_config
from tests.integration.conftest import in_process, on_socket, until
from tests.integration.pictures import picture, refusal
from tests.support.documents import ROOT, blocks
from tests.support.images import make_jpeg, quadrants
from tests.support.otlp import run_collector

DOCUMENT = ROOT / "docs/metrics.md"
JPEG = make_jpeg(quadrants())
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
STAGES = {"decode", "route", "infer", "post", "encode"}


def value(service, name, **labels):
    return service.gateway.telemetry.registry.get_sample_value(f"silhouette_{name}", labels)


async def test_photo_is_recorded_in_the_metrics(service):
    answer = await service.segment(JPEG)
    photo = {"model": "connectnet", "kind": "photo"}
    assert value(service, "images_total", **photo, foreground="present") == 1
    assert value(service, "mask_confidence_count", **photo) == 1
    assert value(service, "stage_seconds_count", **photo, stage="encode") == 1
    route = {"route": "/v1/segment"}
    assert value(service, "request_seconds_count", **route) == 1
    assert value(service, "request_bytes_total", **route) == len(JPEG)
    assert value(service, "response_bytes_total", **route) == len(answer.content)


async def test_batch_records_every_photo_in_the_metrics(service):
    files = [("image", (f"{index}.jpg", JPEG)) for index in range(3)]
    await service.client.post("/v1/segment/batch", files=files)
    photo = {"model": "connectnet", "kind": "photo"}
    assert value(service, "images_total", **photo, foreground="present") == 3


async def test_removebg_photo_is_recorded_in_the_metrics(service):
    await service.client.post("/v1.0/removebg", files={"image_file": JPEG})
    photo = {"model": "connectnet", "kind": "photo"}
    assert value(service, "images_total", **photo, foreground="present") == 1


async def test_tensors_are_timed_but_not_measured_as_masks(service):
    zeros = bytes(3 * prod(service.gateway.registry.get("connectnet").spec.size_hw))
    headers = {"Inference-Header-Content-Length": "0"}
    url = "/v2/models/connectnet/infer"
    answer = await service.client.post(url, content=zeros, headers=headers)
    assert answer.status_code == 200, answer.text
    labels = {"model": "connectnet", "kind": "tensors"}
    assert value(service, "stage_seconds_count", **labels, stage="infer") == 1
    assert value(service, "mask_confidence_count", **labels) is None


async def test_metrics_export_model_version_and_readiness(service):
    gateway = service.gateway
    digest = f"sha256:{gateway.registry.get().digest}"
    labels = {"model": "connectnet", "digest": digest, "provider": "CPUExecutionProvider"}
    assert value(service, "model_info", **labels) == 1
    assert value(service, "info", version=gateway.version) == 1
    assert value(service, "ready") == 1
    gateway.streams.start_draining()
    assert value(service, "ready") == 0


async def test_loop_lag_is_sampled_while_the_service_runs(service):
    before = value(service, "loop_lag_seconds_count")
    await until(lambda: value(service, "loop_lag_seconds_count") > before)


@contextmanager
def lines_of(log_format):
    """Collects the log lines of the block in a format; restores the root logger at its end."""
    output = io.StringIO()
    config = logging_config(log_format)
    config["handlers"]["stderr"]["stream"] = output
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logging.config.dictConfig(config)
    try:
        # httpx, the client in this process, logs too.
        yield lambda: [line for line in output.getvalue().splitlines() if '"httpx"' not in line]
    finally:
        root.handlers[:], root.level = before


async def test_json_log_line_describes_the_request_as_documented(service):
    with lines_of("json") as lines:
        await service.segment(JPEG, x_request_id="order-17", traceparent=TRACEPARENT)
    (event,) = [json.loads(line) for line in lines() if "/v1/segment" in line]
    (documented,) = [block.code for block in blocks(DOCUMENT) if block.language == "json"]
    assert json.loads(documented).keys() == event.keys()
    assert event.pop("duration_ms") > 0
    assert event.pop("message").startswith("POST /v1/segment 200 ok ")
    assert event.pop("time")
    assert event == {
        "level": "INFO",
        "logger": "silhouette_seg.api.middleware.request_log",
        "method": "POST",
        "route": "/v1/segment",
        "status": 200,
        "code": "ok",
        "model": "connectnet",
        "request_id": "order-17",
        "trace_id": TRACE,
    }


async def test_rejected_request_logs_its_code_but_no_client_text(service):
    with lines_of("json") as lines:
        refusal(await service.client.get("/canary?canary=canary"), 404, "not_found")
        refusal(await service.client.get("/v1/models/canary"), 404, "not_found")
        answer = await service.client.get("/v2/models/canary")
        assert answer.status_code == 404
    events = [
        json.loads(line) for line in lines() if "silhouette_seg.api.middleware.request_log" in line
    ]
    assert [(event["status"], event["code"]) for event in events][:1] == [(404, "not_found")]
    assert "canary" not in "".join(lines())


def test_server_log_lines_have_the_same_format(settings_with):
    with lines_of("json") as lines, on_socket(settings_with()) as running:
        httpx.get(f"{running.url}/livez")
    events = [json.loads(line) for line in lines()]
    assert "uvicorn.error" in {event["logger"] for event in events}
    assert all({"time", "level", "message"} <= event.keys() for event in events)


class TestTraces:
    async def test_photo_sends_a_trace_with_its_stages(self, settings_with):
        with run_collector() as collector:
            async with in_process(settings_with(otel_endpoint=collector.url)) as service:
                answer = await service.segment(
                    JPEG, traceparent=TRACEPARENT, x_request_id="order-17"
                )
                await service.client.get("/readyz")
            picture(answer)
        request = collector.span_named("POST /v1/segment")
        children = {
            span["name"]
            for span in collector.spans
            if span.get("parentSpanId") == request["spanId"]
        }
        assert {span["traceId"] for span in collector.spans} == {TRACE}
        assert children - {"queue"} == STAGES
        assert collector.paths == {"/v1/traces"}
        assert {span["service"] for span in collector.spans} == {"silhouette"}

    async def test_batch_trace_has_the_stages_of_each_photo(self, settings_with):
        files = [("image", (f"{index}.jpg", JPEG)) for index in range(3)]
        with run_collector() as collector:
            async with in_process(settings_with(otel_endpoint=collector.url)) as service:
                await service.client.post("/v1/segment/batch", files=files)
        names = [span["name"] for span in collector.spans]
        assert names.count("POST /v1/segment/batch") == 1
        assert {name: names.count(name) for name in STAGES} == dict.fromkeys(STAGES, 3)

    async def test_log_line_contains_the_trace_id_of_its_request(self, settings_with):
        with run_collector() as collector, lines_of("json") as lines:
            async with in_process(settings_with(otel_endpoint=collector.url)) as service:
                await service.client.get("/v1/models")
        (event,) = [json.loads(line) for line in lines() if "/v1/models" in line]
        assert event["trace_id"] == collector.span_named("GET /v1/models")["traceId"]

    async def test_rejected_request_has_its_code_in_the_trace(self, settings_with):
        with run_collector() as collector:
            async with in_process(settings_with(otel_endpoint=collector.url)) as service:
                await service.segment(b"canary")
        (span,) = collector.spans
        attributes = {pair["key"]: pair["value"] for pair in span["attributes"]}
        assert attributes["silhouette.code"] == {"stringValue": "unsupported_image_type"}
        assert "canary" not in json.dumps(span)
