"""One trace from the caller through the gateway into Triton, read from a collector."""

import asyncio

import pytest

from silhouette_seg.settings import Settings
from tests.integration.conftest import in_process
from tests.integration.pictures import picture
from tests.support.images import make_jpeg, person
from tests.support.otlp import TIMEOUT_S, run_collector
from tests.support.published import REPOSITORY
from tests.triton.server import run_triton

TRACES = [f"0af7651916cd43dd8448eb211c8031{number:02x}" for number in range(5)]
"""Trace ids of the photos. There are several, because Triton sometimes ignores a traceparent: 3 of
200 on a busy machine, with a plain gRPC client."""
PARENT = "b7ad6b7169203331"
PHOTO = make_jpeg(person(320, 240))


@pytest.fixture(scope="module")
def collector():
    with run_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced_server(wheel, collector, tmp_path_factory):
    options = (
        "--trace-config=mode=opentelemetry",
        "--trace-config=rate=1",
        "--trace-config=level=TIMESTAMPS",
        f"--trace-config=opentelemetry,url={collector.url}/v1/traces",
        "--trace-config=opentelemetry,bsp_schedule_delay=100",
    )
    with run_triton(REPOSITORY, tmp_path_factory.mktemp("traces"), options=options) as server:
        yield server


async def test_triton_spans_are_children_of_the_inference_span(traced_server, collector):
    settings = Settings(
        engine="triton",
        triton_url=traced_server.grpc,
        otel_endpoint=collector.url,
        request_timeout_s=TIMEOUT_S,
        queue_timeout_s=TIMEOUT_S,
    )
    async with in_process(settings) as service:
        for trace in TRACES:
            traceparent = f"00-{trace}-{PARENT}-01"
            picture(await service.segment(PHOTO, "?model=connectnet", traceparent=traceparent))

    def parents_of_triton_spans():
        """Names of the gateway's spans that are parents of Triton's."""
        spans = [span for span in collector.spans if span["traceId"].lower() in TRACES]
        gateway = {
            span["spanId"].lower(): span for span in spans if span["service"] == "silhouette"
        }
        return [
            gateway[span["parentSpanId"].lower()]["name"]
            for span in spans
            if span["service"] != "silhouette" and span["parentSpanId"].lower() in gateway
        ]

    async with asyncio.timeout(TIMEOUT_S):
        while not parents_of_triton_spans():  # noqa: ASYNC110  # Triton sends in its own time
            await asyncio.sleep(0.01)
    assert set(parents_of_triton_spans()) == {"infer"}
    requests = [span for span in collector.spans if span["name"] == "POST /v1/segment"]
    assert [span["traceId"] for span in requests] == TRACES
    assert {span["parentSpanId"] for span in requests} == {PARENT}
