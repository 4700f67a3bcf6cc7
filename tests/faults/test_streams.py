"""Streams of live video whose engine dies, hangs or lies; peers that hold up only themselves."""

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
from tests.integration.stream_peer import error_of, frame, result_of, streaming
from tests.integration.test_stream_sockets import (
    BINARY,
    NOISE,
    PING_INTERVAL_S,
    begin,
    client,
    message,
    raw,
)
from tests.integration.webrtc_peer import Client
from tests.support.images import make_png
from tests.support.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    """A check may follow at once on the one before."""
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
    async def test_an_engine_that_dies_is_told_of_each_frame_until_it_works(self, service, engine):
        metrics = Metrics(service.client)
        async with streaming(service.app) as peer:
            engine.persistent_error = EngineFailed("It fell over.")
            for seq in range(FAILURE_THRESHOLD):
                peer.send(frame(seq))
                header, told = error_of(await peer.receive())
                assert (header.seq, told["code"], told["retryable"]) == (seq, "engine_failed", True)
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

    async def test_a_detector_that_gives_no_numbers_is_told_too(
        self, settings_with, gated, tmp_path
    ):
        for name in ("md_trisenet", "face_detector"):
            write_tiny_model(tmp_path, tiny_spec(name))
        settings = settings_with(engine="gated", model_repository=tmp_path)
        async with in_process(settings) as service, streaming(service.app) as peer:
            detector = next(each for each in gated if each.spec.name == "face_detector")
            detector.transform_output = faces_at_nan
            peer.send(frame(1))
            assert error_of(await peer.receive())[1]["code"] == "engine_failed"
            detector.transform_output = lambda faces: faces
            peer.send(frame(2))
            assert result_of(await peer.receive())[0].seq == 2


@pytest.fixture
def calling(settings_with, gated, monkeypatch):
    """A camera on the air, over loopback."""
    monkeypatch.setattr(ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])

    @asynccontextmanager
    async def call(**settings: object) -> AsyncIterator[tuple[InProcess, Client]]:
        terms = {"engine": "gated", "webrtc_hosts": ("127.0.0.1",)} | settings
        async with in_process(settings_with(**terms)) as service:
            await service.gateway.webrtc.warm_up()
            async with Client(service.client) as client:
                await client.sees(1)
                yield service, client
            await until(lambda: service.gateway.streams.count == 0)

    return call


class TestWebRTC:
    async def test_an_engine_that_dies_sends_nothing_back_until_it_works(self, calling, gated):
        async with calling() as (service, client):
            metrics = Metrics(service.client)
            gated[0].persistent_error = EngineFailed("It fell over.")
            await until_counted(metrics, "error", 2 * FAILURE_THRESHOLD)
            assert await metrics.failing()
            refusal(await service.client.get("/readyz"), 503, "engine_failed")
            assert await metrics.value("silhouette_streams", transport="webrtc") == 1

            gated[0].persistent_error = None
            sent = client.camera.sent
            while (await client.sees(1))[0].number < sent:
                pass
            assert not await metrics.failing()
            assert (await service.client.get("/readyz")).status_code == 200

    async def test_a_frame_that_hangs_is_given_up(self, calling, gated):
        """As over a WebSocket: else one call that never ends would end the stream unsaid."""
        async with calling(request_timeout_s=0.5) as (service, client):
            metrics = Metrics(service.client)
            stuck = len(gated[0].batch_sizes)
            gated[0].gate.clear()
            await until_counted(metrics, "error", 2)
            assert len(gated[0].batch_sizes) >= stuck + 2
            gated[0].gate.set()
            await client.sees(2)

    async def test_a_failure_that_nobody_foresaw_ends_it(self, calling, gated, caplog):
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
    """Frames of a camera come by themselves."""
    async with asyncio.timeout(60):
        while await metrics.frames("webrtc", outcome) < times:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_peer_that_does_not_read_holds_up_nobody_else(settings_with, monkeypatch):
    """Nor one that sends half a frame and then nothing. Both are cut off, and their places free."""
    monkeypatch.setattr(server, "PING_INTERVAL_S", PING_INTERVAL_S)
    monkeypatch.setattr(server, "PING_TIMEOUT_S", 2.0)  # a busy machine keeps the reader
    with on_socket(settings_with()) as service:
        deaf = await asyncio.to_thread(raw, service, output="cutout")
        half = await asyncio.to_thread(raw, service)
        with closing(deaf), closing(half):
            for seq in range(20):
                deaf.sendall(message(BINARY, frame(seq, NOISE)))
            half.sendall(message(BINARY, frame(0))[:100])
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
                # Whoever reads was there all the while.
                await reader.send(frame(11))
                assert result_of(await reader.recv())[0].seq == 11
