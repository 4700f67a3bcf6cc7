"""Streams with an engine that fails, hangs or returns NaN, and clients that do not read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import httpx
import numpy as np
import pytest
from aioice import ice

from silhouette_seg.engine import health
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.engine.health import FAILURE_THRESHOLD
from silhouette_seg.errors import EngineFailed
from silhouette_seg.server import server
from silhouette_seg.streaming.protocol import MessageKind, unpack
from tests.faults.metrics import Metrics
from tests.integration.conftest import PATIENCE_S, InProcess, in_process, on_socket, until
from tests.integration.pictures import refusal
from tests.integration.stream.test_sockets import (
    BINARY,
    NOISE,
    PING_INTERVAL_S,
    begin,
    client,
    message,
    raw,
)
from tests.integration.stream_client import error_of, frame, result_of, streaming
from tests.integration.webrtc_client import WebRTCClient
from tests.support.images import make_png
from tests.support.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture(autouse=True)
def unlimited_probes(monkeypatch) -> None:
    """Allows a health probe directly after another."""
    monkeypatch.setattr(health, "PROBE_INTERVAL_S", 0.0)


@pytest.fixture
async def service(settings_with, gated) -> AsyncIterator[InProcess]:
    async with in_process(settings_with(engine="gated")) as running:
        yield running


@pytest.fixture
def engine(service, gated) -> FakeEngine:
    return gated[0]


def faces_at_nan(faces: np.ndarray) -> np.ndarray:
    faces[:, 0, 2] = np.nan
    return faces


class TestWebSocket:
    async def test_failed_engine_fails_each_frame_until_it_recovers(self, service, engine):
        metrics = Metrics(service.client)
        async with streaming(service.app) as peer:
            engine.persistent_error = EngineFailed("It fell over.")
            for seq in range(FAILURE_THRESHOLD):
                peer.send(frame(seq))
                header, body = error_of(await peer.receive())
                assert (header.seq, body["code"], body["retryable"]) == (seq, "engine_failed", True)
            assert await metrics.frames("websocket", "error") == FAILURE_THRESHOLD
            assert await metrics.engine_failures("engine_failed") == FAILURE_THRESHOLD
            assert await metrics.failing()
            refusal(await service.client.get("/readyz"), 503, "engine_failed")

            engine.persistent_error = None
            peer.send(frame(9))
            assert result_of(await peer.receive())[0].seq == 9
            assert await metrics.frames("websocket", "result") == 1
            assert not await metrics.failing()
            assert (await service.client.get("/readyz")).status_code == 200

    async def test_detector_with_nan_output_fails_the_frame(self, settings_with, gated, tmp_path):
        for name in ("md_trisenet", "face_detector"):
            write_tiny_model(tmp_path, tiny_spec(name))
        settings = settings_with(engine="gated", model_repository=tmp_path)
        async with in_process(settings) as service, streaming(service.app) as peer:
            detector = next(engine for engine in gated if engine.spec.name == "face_detector")
            detector.transform_output = faces_at_nan
            peer.send(frame(1))
            assert error_of(await peer.receive())[1]["code"] == "engine_failed"
            detector.transform_output = lambda faces: faces
            peer.send(frame(2))
            assert result_of(await peer.receive())[0].seq == 2


@pytest.fixture
def calling(settings_with, gated, monkeypatch):
    """Connects a camera to the service over loopback."""
    monkeypatch.setattr(ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])

    @asynccontextmanager
    async def call(**settings: object) -> AsyncIterator[tuple[InProcess, WebRTCClient]]:
        overrides = {"engine": "gated", "webrtc_hosts": ("127.0.0.1",)} | settings
        async with in_process(settings_with(**overrides)) as service:
            await service.gateway.webrtc.warm_up()
            async with WebRTCClient(service.client) as client:
                await client.receive_frames(1)
                yield service, client
            await until(lambda: service.gateway.streams.count == 0)

    return call


class TestWebRTC:
    async def test_failed_engine_returns_no_frames_until_it_recovers(self, calling, gated):
        async with calling() as (service, client):
            metrics = Metrics(service.client)
            gated[0].persistent_error = EngineFailed("It fell over.")
            await until_counted(metrics, "error", 2 * FAILURE_THRESHOLD)
            assert await metrics.failing()
            refusal(await service.client.get("/readyz"), 503, "engine_failed")
            assert await metrics.value("silhouette_streams", transport="webrtc") == 1

            gated[0].persistent_error = None
            sent = client.camera.sent
            while (await client.receive_frames(1))[0].number < sent:
                pass
            assert not await metrics.failing()
            assert (await service.client.get("/readyz")).status_code == 200

    async def test_hanging_frame_is_cancelled_and_stream_continues(self, calling, gated):
        """One endless call would otherwise stop the stream without an error."""
        async with calling(request_timeout_s=0.5) as (service, client):
            metrics = Metrics(service.client)
            batches = len(gated[0].batch_sizes)
            gated[0].gate.clear()
            await until_counted(metrics, "error", 2)
            assert len(gated[0].batch_sizes) >= batches + 2
            gated[0].gate.set()
            await client.receive_frames(2)

    async def test_unexpected_error_ends_the_stream(self, calling, gated, caplog):
        caplog.set_level("INFO", "silhouette_seg.streaming")
        async with calling() as (service, client):
            gated[0].fail_next(ZeroDivisionError("secret of the engine"))
            await until(lambda: service.gateway.streams.count == 0)
            metrics = Metrics(service.client)
            assert await metrics.engine_failures("internal") == 1
            assert await metrics.value("silhouette_streams", transport="webrtc") == 0
            refusal(await client.patch(size=128), 404, "not_found")
        assert "secret of the engine" in caplog.text


async def until_counted(metrics: Metrics, outcome: str, times: int) -> None:
    """Waits until the camera has produced this many frames with `outcome`."""
    async with asyncio.timeout(60):
        while await metrics.frames("webrtc", outcome) < times:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_client_that_does_not_read_delays_no_other(settings_with, monkeypatch):
    """A client that sends half a frame behaves alike. Both are closed and release their slots."""
    monkeypatch.setattr(server, "PING_INTERVAL_S", PING_INTERVAL_S)
    # A longer timeout: on a busy machine the reading client must stay connected.
    monkeypatch.setattr(server, "PING_TIMEOUT_S", 2.0)
    with on_socket(settings_with()) as service:
        silent = await asyncio.to_thread(raw, service, output="cutout")
        partial = await asyncio.to_thread(raw, service)
        with closing(silent), closing(partial):
            for seq in range(20):
                silent.sendall(message(BINARY, frame(seq, NOISE)))
            partial.sendall(message(BINARY, frame(0))[:100])
            async with client(service) as reader:
                await begin(reader)
                for seq in range(10):
                    await reader.send(frame(seq, make_png(np.zeros((48, 64, 3), np.uint8))))
                    header, _ = unpack(await reader.recv())
                    assert (header.kind, header.seq) == (MessageKind.RESULT, seq)
                await asyncio.to_thread(service.wait, lambda: service.gateway.streams.count == 1)
                async with httpx.AsyncClient(
                    base_url=service.url, timeout=PATIENCE_S, verify=False
                ) as http:
                    streams = await Metrics(http).value("silhouette_streams", transport="websocket")
                assert streams == 1
                # The reading client stayed connected throughout.
                await reader.send(frame(11))
                assert result_of(await reader.recv())[0].seq == 11
