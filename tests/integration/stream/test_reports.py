"""Logs, metrics and capabilities of streams."""

import json
import logging

from tests.integration.conftest import in_process
from tests.integration.stream_client import BAD_FRAME, config, connected, frame, streaming
from tests.support.metrics import exposition


async def test_end_of_stream_is_logged_in_one_line(service, caplog):
    caplog.set_level(logging.INFO)
    async with connected(service.app, x_request_id="made-by-the-client") as peer:
        peer.send(config())
        await peer.receive()
        for message in (frame(1), BAD_FRAME, frame(2)):
            peer.send(message)
            await peer.receive()
        await peer.leave(1001)
    (line,) = [line for line in caplog.messages if line.startswith("stream ")]
    assert line.startswith("stream websocket connectnet result=2 skipped=0 error=1 ")
    assert line.endswith(" s closed 1001")


async def test_rejected_stream_is_logged_and_counted(service, caplog):
    caplog.set_level(logging.INFO)
    async with connected(service.app) as peer:
        peer.send("nonsense")
        await peer.end()
    (line,) = [line for line in caplog.messages if line.startswith("stream ")]
    assert line.startswith("stream websocket - result=0 skipped=0 error=0 ")
    assert line.endswith(" s closed 1003")
    ended = {"transport": "websocket", "reason": "wrong_type"}
    registry = service.gateway.telemetry.registry
    assert registry.get_sample_value("silhouette_streams_ended_total", ended) == 1


async def test_metrics_count_streams_and_frames(service):
    async with streaming(service.app) as peer:
        for message in (frame(1), BAD_FRAME):
            peer.send(message)
            await peer.receive()
        during = exposition(service.gateway.telemetry)
    after = exposition(service.gateway.telemetry)
    assert 'silhouette_streams{transport="websocket"} 1.0' in during
    assert 'silhouette_streams{transport="websocket"} 0.0' in after
    assert 'silhouette_frames_total{outcome="result",transport="websocket"} 1.0' in after
    assert 'silhouette_frames_total{outcome="error",transport="websocket"} 1.0' in after
    assert 'stage_seconds_count{kind="frame",model="connectnet",stage="infer"} 1.0' in after
    assert 'silhouette_frame_seconds_count{transport="websocket"} 1.0' in after
    assert 'images_total{foreground="present",kind="frame",model="connectnet"} 1.0' in after


async def test_capabilities_list_stream_limits(settings_with, gated):
    settings = settings_with(engine="gated", max_streams=5, max_frame_bytes=77_000, stream_idle_s=3)
    async with in_process(settings) as service:
        capabilities = (await service.client.get("/v1/capabilities")).json()
    assert "websocket" in capabilities["streams"]
    limits = capabilities["stream_limits"]
    assert (limits["streams"], limits["streams_per_caller"]) == (5, 5)
    assert (limits["message_bytes"], limits["idle_s"]) == (77_000, 3)
    assert json.loads(json.dumps(capabilities["stream_parameters"])).keys() >= {
        "size",
        "smoothing",
    }
