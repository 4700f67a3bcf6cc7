"""Circuit breaker, probes, reconnection and close of TritonEngine."""

import asyncio
import sys

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from silhouette_seg.engine import open_inference_server
from silhouette_seg.engine.base import TritonConfig
from silhouette_seg.engine.triton.channel import grpc_target
from silhouette_seg.errors import (
    EngineDown,
    EngineFailed,
    Unavailable,
)
from tests.support.fake_triton import TIMEOUT_S, FakeTriton, serve_triton
from tests.unit.engine.inputs import SPEC, SPECS, photo

INTERNAL = (StatusCode.INTERNAL, "Stub process 'connectnet_0_0' is not healthy.")


class TestCircuitBreaker:
    async def fail(self, triton, engine, times):
        triton.failures = [INTERNAL] * times
        for _ in range(times):
            with pytest.raises(EngineFailed):
                await engine.infer(photo())

    async def test_failing_model_gets_no_more_calls(self, triton, engine):
        await self.fail(triton, engine, 3)
        calls = len(triton.calls)
        with pytest.raises(EngineFailed, match="not working") as caught:
            await engine.infer(photo())
        assert caught.value.retry_after_s == 1
        with pytest.raises(EngineFailed, match="not working"):
            await engine.check_ready()
        assert len(triton.calls) == calls

    async def test_success_between_failures_resets_their_count(self, triton, engine):
        for _ in range(3):
            await self.fail(triton, engine, 2)
            await engine.infer(photo())

    async def test_successful_probe_restores_a_failing_model(self, triton, connect, port):
        engine = connect(port, probe_interval_s=0)
        await self.fail(triton, engine, 3)
        triton.calls.clear()
        np.testing.assert_array_equal(await engine.infer(photo(5)), photo(5)["image"][..., 0])
        probe, call = triton.calls
        assert set(probe.request.raw_input_contents[0]) == {0}
        assert call.request.raw_input_contents[0] == photo(5)["image"].tobytes()
        await engine.check_ready()
        await engine.infer(photo())
        assert len(triton.calls) == 3

    async def test_invalid_arguments_do_not_open_the_breaker(self, triton, engine):
        triton.failures = [(StatusCode.INVALID_ARGUMENT, "unexpected shape")] * 5
        for _ in range(5):
            with pytest.raises(EngineFailed):
                await engine.infer(photo())
        await engine.infer(photo())

    async def test_failed_probe_keeps_the_breaker_open(self, triton, connect, port):
        engine = connect(port, probe_interval_s=0)
        await self.fail(triton, engine, 3)
        triton.calls.clear()
        await self.fail(triton, engine, 2)
        sent = [set(call.request.raw_input_contents[0]) for call in triton.calls]
        assert sent == [{0}, {0}]

    async def test_check_does_not_probe_a_model_that_replies(self, triton, engine):
        await engine.infer(photo())
        await engine.check_ready()
        assert len(triton.calls) == 1

    @pytest.fixture
    def no_silence(self, monkeypatch):
        """Makes a check probe the model after any silence."""
        monkeypatch.setattr("silhouette_seg.engine.triton.engine.MAX_SILENCE_S", 0)

    async def test_check_probes_a_silent_model(self, no_silence, triton, engine):
        await engine.infer(photo())
        await engine.check_ready()
        assert [set(call.request.raw_input_contents[0]) for call in triton.calls[1:]] == [{0}]

    async def test_check_does_not_probe_a_model_without_replies(self, no_silence, triton, engine):
        await engine.check_ready()
        assert triton.calls == []

    async def test_check_detects_a_model_that_died_silently(
        self, no_silence, triton, connect, port
    ):
        engine = connect(port, probe_interval_s=60)
        await engine.infer(photo())
        triton.failures = [INTERNAL]
        with pytest.raises(EngineFailed):
            await engine.check_ready()
        for call in (engine.check_ready(), engine.infer(photo())):
            with pytest.raises(EngineFailed, match="not working"):
                await call
        assert len(triton.calls) == 2

    async def test_check_detects_a_model_that_hangs_silently(
        self, no_silence, triton, connect, port
    ):
        engine = connect(port, probe_interval_s=60)
        await engine.infer(photo())
        triton.failures = [(StatusCode.DEADLINE_EXCEEDED, "")]
        with pytest.raises(EngineDown, match="does not respond"):
            await engine.check_ready()
        with pytest.raises(EngineFailed, match="not working"):
            await engine.check_ready()

    async def test_model_with_full_queue_is_ready(self, no_silence, triton, engine):
        await engine.infer(photo())
        triton.failures = [(StatusCode.UNAVAILABLE, "Exceeds maximum queue size")]
        await engine.check_ready()
        await engine.infer(photo())


class TestConnection:
    async def test_unreachable_server_is_down(self, connect):
        async with serve_triton(FakeTriton(SPECS)) as port:
            pass
        engine = connect(port)
        with pytest.raises(EngineDown):
            await engine.infer(photo())
        with pytest.raises(EngineDown):
            await engine.check_ready()

    async def test_unresolvable_host_name_is_down(self, connect):
        with pytest.raises(EngineDown):
            await connect("triton.invalid:8001").check_ready()

    async def test_restarted_server_is_used_again(self, connect):
        async with serve_triton(FakeTriton(SPECS)) as port:
            engine = connect(port)
            await engine.infer(photo())
        with pytest.raises(EngineDown):
            await engine.infer(photo())
        async with serve_triton(FakeTriton(SPECS), port):
            await wait_until_reachable(engine)
            await engine.infer(photo())

    async def test_silent_server_is_down(self, triton, connect, port):
        triton.gate.clear()
        with pytest.raises(EngineDown, match="does not respond"):
            await connect(port, check_timeout_s=0.1).check_ready()

    async def test_calls_alternate_between_replicas(self, connect):
        replicas = [FakeTriton(SPECS) for _ in range(2)]
        async with serve_triton(replicas[0]) as one, serve_triton(replicas[1]) as two:
            engine = connect(f"ipv4:127.0.0.1:{one},127.0.0.1:{two}")
            async with asyncio.timeout(TIMEOUT_S):
                while not all(replica.calls for replica in replicas):
                    await engine.infer(photo())

    async def test_death_of_one_replica_fails_no_caller(self, connect):
        replicas = [FakeTriton(SPECS) for _ in range(2)]
        async with serve_triton(replicas[0]) as one:
            async with serve_triton(replicas[1]) as two:
                engine = connect(f"ipv4:127.0.0.1:{one},127.0.0.1:{two}")
                async with asyncio.timeout(TIMEOUT_S):
                    while not all(replica.calls for replica in replicas):
                        await engine.infer(photo())
                for replica in replicas:
                    replica.gate.clear()
                calls = [asyncio.create_task(engine.infer(photo(seed))) for seed in range(6)]
                await replicas[1].wait_until(lambda: replicas[1].running >= 2)
            replicas[0].gate.set()
            for seed, alpha in enumerate(await asyncio.gather(*calls)):
                np.testing.assert_array_equal(alpha, photo(seed)["image"][..., 0])

    async def test_channel_is_shared_until_the_last_model_closes(self, port):
        server = open_inference_server("triton", TritonConfig(f"127.0.0.1:{port}"))
        engines = [server.open_engine(spec) for spec in SPECS]
        await server.check_ready([spec.name for spec in SPECS])
        channel = server._channel
        for engine in engines[:-1]:
            await engine.close()
        await engines[-1].infer(photo(spec=SPECS[-1]))
        assert server._channel is channel
        await engines[-1].close()
        assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN

    async def test_open_engine_does_not_connect(self):
        server = open_inference_server("triton", TritonConfig("127.0.0.1:1"))
        engine = server.open_engine(SPEC)
        assert server._channel is None
        await engine.close()

    async def test_second_close_has_no_effect(self, engine):
        await engine.infer(photo())
        await engine.close()
        await engine.close()
        with pytest.raises(Unavailable):
            await engine.infer(photo())

    @pytest.mark.parametrize(
        ("url", "target"),
        [
            ("triton:8001", "dns:///triton:8001"),
            ("ipv4:10.0.0.1:8001,10.0.0.2:8001", "ipv4:10.0.0.1:8001,10.0.0.2:8001"),
        ],
    )
    def test_grpc_target_resolves_all_addresses_of_a_name(self, url, target):
        assert grpc_target(url) == target


async def wait_until_reachable(engine):
    """Polls: gRPC reconnects in its own time."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                return await engine.check_ready()
            except EngineDown:
                await asyncio.sleep(0.01)


def test_missing_client_library_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "silhouette_seg.engine.triton.engine")
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(ValueError, match=r"install 'silhouette-seg\[triton\]'"):
        open_inference_server("triton", TritonConfig("127.0.0.1:1"))
