"""TritonEngine against a server that does as it is told; the real one is in tests/triton."""

import asyncio
import sys
from contextlib import AsyncExitStack

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from silhouette_seg.engine import open_inference_server
from silhouette_seg.engine.base import (
    DEADLINE,
    PRIORITY,
    Priority,
    TritonConfig,
    check_inputs,
    is_degraded,
)
from silhouette_seg.engine.triton import grpc_target
from silhouette_seg.engine.triton_errors import error_from_status
from silhouette_seg.engine.triton_model_config import config_differences, provider_of
from silhouette_seg.errors import (
    DeadlineExceeded,
    Draining,
    EngineDown,
    EngineFailed,
    Overloaded,
    Unavailable,
)
from silhouette_seg.telemetry import IDENTITY, Identity
from tests.support.fake_triton import PATIENCE_S, FakeTriton, model_config_of, serve_triton
from tests.support.tiny_model import tiny_spec

SPECS = [tiny_spec(name) for name in ("connectnet", "rcrnet", "md_trisenet", "face_detector")]
SPEC = SPECS[0]
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def triton():
    return FakeTriton(SPECS)


@pytest.fixture
async def port(triton):
    async with serve_triton(triton) as port:
        yield port


@pytest.fixture
async def connect():
    """Opens a model of the server at a port; closes it at the end."""
    async with AsyncExitStack() as stack:

        def open_model(port, spec=SPEC, **terms):
            url = port if isinstance(port, str) else f"127.0.0.1:{port}"
            engine = open_inference_server("triton", TritonConfig(url, **terms)).open_engine(spec)
            stack.push_async_callback(engine.close)
            return engine

        yield open_model


@pytest.fixture
def engine(connect, port):
    return connect(port)


def photo(seed=0, rows=1, spec=SPEC):
    image = np.random.default_rng(seed).integers(0, 256, (rows, *spec.size_hw, 3), np.uint8)
    made = {"image": image, "prior": image[..., 1], "domain": (np.arange(rows) + seed) % 6}
    return {tensor.name: made[tensor.name] for tensor in spec.inputs}


class TestAnswers:
    @pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
    @pytest.mark.parametrize("rows", [1, 3, 8])
    async def test_row_answers_row(self, triton, connect, port, spec, rows):
        inputs = photo(7, rows, spec)
        output = await connect(port, spec).infer(inputs)
        np.testing.assert_array_equal(output, await triton.models[spec.name].infer(inputs))
        assert output.dtype == spec.output.dtype

    async def test_asks_for_the_version_of_the_spec_and_its_output_alone(self, triton, engine):
        await engine.infer(photo())
        request = triton.calls[0].request
        assert (request.model_name, request.model_version) == ("connectnet", "1")
        assert [output.name for output in request.outputs] == ["alpha"]

    async def test_concurrent_callers_get_their_own_answer(self, engine):
        callers = [photo(seed) for seed in range(24)]
        answers = await asyncio.gather(*map(engine.infer, callers))
        for inputs, alpha in zip(callers, answers, strict=True):
            np.testing.assert_array_equal(alpha, inputs["image"][..., 0])

    async def test_the_first_callers_look_the_model_up_once(self, triton, engine):
        await asyncio.gather(*(engine.infer(photo()) for _ in range(6)))
        await engine.check_ready()
        assert triton.config_requests == 1

    async def test_wrong_inputs_never_leave(self, triton, engine):
        with pytest.raises(ValueError, match="connectnet"):
            await engine.infer({"image": photo()["image"][:, 1:]})
        assert triton.calls == []

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda answer: answer.outputs.pop(),
            lambda answer: answer.raw_output_contents.pop(),
            lambda answer: setattr(answer.outputs[0], "name", "beta"),
            lambda answer: setattr(answer.outputs[0], "datatype", "FP32"),
            lambda answer: answer.outputs[0].shape.append(1),
            lambda answer: answer.outputs[0].shape.__setitem__(1, 5),
        ],
    )
    async def test_an_answer_that_was_not_asked_for_is_no_answer(self, triton, engine, spoil):
        honest = triton._answer

        async def spoiled(request):
            answer = await honest(request)
            spoil(answer)
            return answer

        triton._answer = spoiled
        with pytest.raises(EngineFailed, match="does not match its spec"):
            await engine.infer(photo())


class TestWhatGoesAlong:
    async def test_a_photo_unless_it_is_a_live_frame(self, triton, engine):
        await engine.infer(photo())
        token = PRIORITY.set(Priority.LIVE)
        await engine.infer(photo())
        PRIORITY.reset(token)
        sent = [call.request.parameters["priority"].uint64_param for call in triton.calls]
        assert sent == [Priority.PHOTO, Priority.LIVE] == [2, 1]

    async def test_the_wait_in_the_queue_is_ours_to_say(self, triton, connect, port):
        await connect(port, queue_timeout_s=1.5).infer(photo())
        sent = triton.calls[0].request.parameters["timeout"].int64_param
        assert 0 < sent <= 1_500_000

    async def test_the_request_timeout_is_the_deadline(self, triton, connect, port):
        await connect(port, request_timeout_s=300).infer(photo())
        assert 200 < triton.calls[0].time_remaining <= 301

    async def test_a_caller_with_less_time_says_so(self, triton, engine):
        token = DEADLINE.set(asyncio.get_running_loop().time() + 5)
        await engine.infer(photo())
        DEADLINE.reset(token)
        assert 0 < triton.calls[0].time_remaining <= 5.5

    async def test_the_request_and_its_trace(self, triton, engine):
        token = IDENTITY.set(Identity("order-17", "0af7", TRACEPARENT))
        await engine.infer(photo())
        IDENTITY.reset(token)
        assert triton.calls[0].headers["traceparent"] == TRACEPARENT
        assert triton.calls[0].request.id == "order-17"

    async def test_no_trace_without_one(self, triton, engine):
        await engine.infer(photo())
        assert "traceparent" not in triton.calls[0].headers


FAULTS = [
    ("UNAVAILABLE", "[request id: x] Exceeds maximum queue size", Overloaded, 1),
    ("UNAVAILABLE", "Request timeout expired", Overloaded, 1),
    ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped", EngineDown, 2),
    ("UNAVAILABLE", "Server exiting", EngineDown, 2),
    ("UNAVAILABLE", "unknown model: 'x' version 1 is not at ready state", EngineDown, 2),
    ("UNAVAILABLE", "Socket closed", EngineDown, 2),
    ("CANCELLED", "RST_STREAM", EngineDown, 2),
    ("NOT_FOUND", "Request for unknown model: 'x' has no available versions", EngineDown, 2),
    ("INTERNAL", "Traceback: File '/opt/models/1/model.py', line 3", EngineFailed, 1),
    ("INTERNAL", "Stub process 'connectnet_0_0' is not healthy.", EngineFailed, 1),
    ("UNKNOWN", "/opt/tritonserver", EngineFailed, 1),
    ("INVALID_ARGUMENT", "unexpected shape for input 'image'", EngineFailed, 1),
    ("RESOURCE_EXHAUSTED", "message larger than max", EngineFailed, 1),
    ("UNIMPLEMENTED", "decoupled", EngineFailed, 1),
    ("PERMISSION_DENIED", "restricted", EngineFailed, 1),
    ("DEADLINE_EXCEEDED", "too late", DeadlineExceeded, 1),
]


class TestFaults:
    @pytest.mark.parametrize(("status", "text", "kind", "asked"), FAULTS)
    async def test_fault_is_ours_and_is_asked_again_only_of_who_was_not_there(
        self, triton, engine, status, text, kind, asked
    ):
        await engine.infer(photo())
        triton.calls.clear()
        triton.failures = [(StatusCode[status], text)] * 9
        with pytest.raises(kind) as caught:
            await engine.infer(photo())
        assert type(caught.value) is kind
        assert len(triton.calls) == asked
        assert caught.value.retryable
        assert text not in caught.value.detail
        assert not set("/\\") & set(caught.value.detail)
        triton.failures.clear()
        np.testing.assert_array_equal(await engine.infer(photo(5)), photo(5)["image"][..., 0])

    @pytest.mark.parametrize(("status", "text"), [(f[0], f[1]) for f in FAULTS if f[3] == 2])
    async def test_second_try_answers(self, triton, engine, status, text):
        await engine.infer(photo())
        triton.failures = [(StatusCode[status], text)]
        np.testing.assert_array_equal(await engine.infer(photo(5)), photo(5)["image"][..., 0])
        assert len(triton.calls) == 3

    @pytest.mark.parametrize("text", ["Exceeds maximum queue size", "Request timeout expired"])
    def test_a_full_server_says_when_to_come_back(self, text):
        assert error_from_status("UNAVAILABLE", text, known=True).retry_after_s == 1

    def test_a_model_that_never_was_there_is_no_restart(self):
        assert type(error_from_status("NOT_FOUND", "unknown model", known=False)) is EngineFailed

    async def test_no_second_try_after_the_deadline(self, triton, engine):
        await engine.infer(photo())
        triton.gate.clear()
        triton.failures = [(StatusCode.UNAVAILABLE, "Server is stopping")] * 2
        loop = asyncio.get_running_loop()
        token = DEADLINE.set(loop.time() + 0.05)
        with pytest.raises(DeadlineExceeded):
            await engine.infer(photo())
        DEADLINE.reset(token)
        assert len(triton.calls) == 2
        triton.gate.set()

    async def test_a_deadline_that_has_passed_asks_nobody(self, triton, engine):
        token = DEADLINE.set(asyncio.get_running_loop().time() - 1)
        with pytest.raises(DeadlineExceeded):
            await engine.infer(photo())
        DEADLINE.reset(token)
        assert triton.calls == []


class TestHeld:
    """What happens to calls that the server does not answer yet."""

    @pytest.fixture
    def held(self, triton):
        triton.gate.clear()
        return triton

    async def test_a_caller_that_leaves_takes_its_call_along(self, held, engine):
        call = asyncio.create_task(engine.infer(photo()))
        await held.wait_until(lambda: held.running == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await held.wait_until(lambda: held.running == 0)
        assert held.cancelled == 1

    async def test_deadline_ends_the_call_there_too(self, held, connect, port):
        with pytest.raises(DeadlineExceeded):
            await connect(port, request_timeout_s=0.2).infer(photo())
        await held.wait_until(lambda: held.running == 0)
        assert len(held.calls) == 1

    async def test_no_more_than_agreed_are_there_at_once(self, held, connect, port):
        engine = connect(port, max_in_flight=2)
        calls = [asyncio.create_task(engine.infer_timed(photo(seed))) for seed in range(5)]
        await held.wait_until(lambda: held.running == 2)
        assert engine.queued == 3
        held.gate.set()
        answers = await asyncio.gather(*calls)
        assert engine.queued == 0
        assert [answer.queue_s > 0 for answer in answers] == [True] * 5
        for seed, answer in enumerate(answers):
            np.testing.assert_array_equal(answer.output, photo(seed)["image"][..., 0])

    async def test_waiting_too_long_for_a_place_is_overloaded(self, held, connect, port):
        engine = connect(port, max_in_flight=1, queue_timeout_s=0.05)
        first = asyncio.create_task(engine.infer(photo()))
        await held.wait_until(lambda: held.running == 1)
        with pytest.raises(Overloaded) as caught:
            await engine.infer(photo())
        assert caught.value.retry_after_s == 1
        assert len(held.calls) == 1
        held.gate.set()
        await first

    async def test_a_caller_that_leaves_the_queue_makes_room(self, held, connect, port):
        engine = connect(port, max_in_flight=1)
        first = asyncio.create_task(engine.infer(photo()))
        await held.wait_until(lambda: held.running == 1)
        gone, third = [asyncio.create_task(engine.infer(photo(3))) for _ in range(2)]
        await asyncio.sleep(0)
        gone.cancel()
        held.gate.set()
        await asyncio.gather(first, third)
        assert (engine.queued, len(held.calls)) == (0, 2)

    async def test_closing_fails_who_waits_there_and_here(self, held, connect, port):
        engine = connect(port, max_in_flight=1)
        calls = [asyncio.create_task(engine.infer(photo())) for _ in range(2)]
        await held.wait_until(lambda: held.running == 1)
        await engine.close()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in ended] == [Draining, Draining]
        await held.wait_until(lambda: held.running == 0)

    async def test_closing_one_model_leaves_the_others_alone(self, held, port):
        server = open_inference_server("triton", TritonConfig(f"127.0.0.1:{port}"))
        one, other = server.open_engine(SPECS[0]), server.open_engine(SPECS[1])
        ending = asyncio.create_task(one.infer(photo()))
        staying = asyncio.create_task(other.infer(photo(spec=other.spec)))
        await held.wait_until(lambda: held.running == 2)
        await one.close()
        with pytest.raises(Draining):
            await ending
        held.gate.set()
        await staying
        await other.close()

    async def test_a_caller_that_leaves_while_we_close_has_left(self, held, engine):
        call = asyncio.create_task(engine.infer(photo()))
        await held.wait_until(lambda: held.running == 1)
        call.cancel()
        await engine.close()
        with pytest.raises(asyncio.CancelledError):
            await call


class TestMetadata:
    """The server's model against the spec."""

    @pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
    def test_generated_configuration_differs_in_nothing(self, spec):
        assert config_differences(spec, model_config_of(spec)) == []

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                lambda c: c.input[0].dims.__setitem__(0, 99),
                "input image is UINT8 [-1, 99, 32, 3] and should be UINT8 [-1, 24, 32, 3]",
            ),
            (
                lambda c: setattr(c.input[0], "data_type", 11),
                "input image is FP32 [-1, 24, 32, 3] and should be UINT8 [-1, 24, 32, 3]",
            ),
            (
                lambda c: setattr(c.output[0], "name", "matte"),
                "output alpha is missing and should be UINT8 [-1, 24, 32]",
            ),
            (
                lambda c: setattr(c.output[0], "name", "matte"),
                "output matte is UINT8 [-1, 24, 32] and should be absent",
            ),
            (
                lambda c: c.input[1].dims.append(2),
                "input domain is INT64 [-1, 1, 2] and should be INT64 [-1, 1]",
            ),
            (
                lambda c: c.input.pop(),
                "input domain is missing and should be INT64 [-1, 1]",
            ),
            (
                lambda c: setattr(c, "max_batch_size", 4),
                "max_batch_size is 4 and should be 8",
            ),
        ],
    )
    async def test_mismatch_is_refused_and_says_what_differs(
        self, triton, connect, port, change, said
    ):
        change(triton.configs["md_trisenet"])
        engine = connect(port, tiny_spec("md_trisenet"))
        with pytest.raises(EngineFailed) as caught:
            await engine.check_ready()
        assert said in caught.value.detail
        assert "spec.json" in caught.value.detail
        with pytest.raises(EngineFailed):
            await engine.infer(photo(spec=engine.spec))
        assert triton.calls == []

    @pytest.mark.parametrize(("digest", "differs"), [(SPEC.sha256, False), ("1" * 64, True)])
    def test_weights_are_those_of_the_spec_where_the_server_says_which(self, digest, differs):
        config = model_config_of(SPEC)
        config.parameters["sha256"].string_value = digest
        assert ("sha256" in "".join(config_differences(SPEC, config))) is differs

    def test_a_server_may_batch_more(self):
        config = model_config_of(SPEC)
        config.max_batch_size = 64
        assert config_differences(SPEC, config) == []

    async def test_a_model_that_is_not_there_is_refused(self, connect, port):
        with pytest.raises(EngineFailed, match="does not have"):
            await connect(port, tiny_spec("stranger")).check_ready()

    async def test_a_model_that_is_not_ready_is_waited_for(self, triton, engine):
        triton.ready = False
        with pytest.raises(EngineDown, match="not ready"):
            await engine.check_ready()
        triton.ready = True
        await engine.check_ready()

    async def test_a_server_that_came_back_with_another_model_is_not_believed(self, triton, engine):
        await engine.infer(photo())
        triton.configs["connectnet"].input[0].dims[0] = 99
        triton.failures = [(StatusCode.UNAVAILABLE, "Socket closed")]
        with pytest.raises(EngineFailed, match="99"):
            await engine.infer(photo())
        assert len(triton.calls) == 2


def plan(config):
    config.backend = "tensorrt"
    del config.optimization.execution_accelerators.gpu_execution_accelerator[:]


def mixed(config):
    config.instance_group.add(kind=2, count=1)


class TestDevice:
    @pytest.mark.parametrize(
        ("gpu", "change", "provider"),
        [
            (False, lambda c: None, "triton:cpu"),
            (True, lambda c: None, "triton:tensorrt"),
            (True, plan, "triton:tensorrt"),
            (True, lambda c: c.ClearField("optimization"), "triton:cuda"),
            (True, mixed, "triton:cpu"),
            (True, lambda c: c.ClearField("instance_group"), "triton:cpu"),
        ],
    )
    def test_provider_is_what_the_configuration_says(self, gpu, change, provider):
        config = model_config_of(SPEC, gpu=gpu)
        change(config)
        assert provider_of(config) == provider

    @pytest.mark.parametrize(
        ("provider", "device", "short"),
        [
            ("CPUExecutionProvider", "cpu", False),
            ("CPUExecutionProvider", "cuda", True),
            ("CUDAExecutionProvider", "cuda", False),
            ("CUDAExecutionProvider", "tensorrt", True),
            ("TensorrtExecutionProvider", "cuda", False),
            ("triton:tensorrt", "tensorrt", False),
            ("triton:cuda", "tensorrt", True),
            ("triton:cpu", "cuda", True),
            ("triton", "cuda", True),
            ("triton", "cpu", False),
        ],
    )
    def test_falls_short(self, provider, device, short):
        assert is_degraded(provider, device) is short

    @pytest.mark.parametrize("device", ["cuda", "tensorrt"])
    async def test_asked_for_a_gpu_and_got_none_is_refused(self, connect, port, device):
        engine = connect(port, device=device)
        with pytest.raises(EngineFailed, match=f"requires {device} and runs on triton:cpu"):
            await engine.check_ready()
        assert engine.provider == "triton"

    async def test_degraded_goes_on_and_tells_the_truth(self, connect, port):
        engine = connect(port, device="tensorrt", allow_degraded=True)
        await engine.infer(photo())
        assert engine.provider == "triton:cpu"

    async def test_a_gpu_is_welcome_unasked(self, connect):
        async with serve_triton(FakeTriton(SPECS, gpu=True)) as port:
            engine = connect(port)
            await engine.check_ready()
            assert engine.provider == "triton:tensorrt"


INTERNAL = (StatusCode.INTERNAL, "Stub process 'connectnet_0_0' is not healthy.")


class TestBreaking:
    async def fail(self, triton, engine, times):
        triton.failures = [INTERNAL] * times
        for _ in range(times):
            with pytest.raises(EngineFailed):
                await engine.infer(photo())

    async def test_a_model_that_only_fails_is_left_alone(self, triton, engine):
        await self.fail(triton, engine, 3)
        asked = len(triton.calls)
        with pytest.raises(EngineFailed, match="not working") as caught:
            await engine.infer(photo())
        assert caught.value.retry_after_s == 1
        with pytest.raises(EngineFailed, match="not working"):
            await engine.check_ready()
        assert len(triton.calls) == asked

    async def test_an_answer_between_failures_forgives_them(self, triton, engine):
        for _ in range(3):
            await self.fail(triton, engine, 2)
            await engine.infer(photo())

    async def test_a_probe_that_passes_brings_it_back(self, triton, connect, port):
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

    async def test_requests_that_are_refused_break_nothing(self, triton, engine):
        triton.failures = [(StatusCode.INVALID_ARGUMENT, "unexpected shape")] * 5
        for _ in range(5):
            with pytest.raises(EngineFailed):
                await engine.infer(photo())
        await engine.infer(photo())

    async def test_a_probe_that_fails_does_not(self, triton, connect, port):
        engine = connect(port, probe_interval_s=0)
        await self.fail(triton, engine, 3)
        triton.calls.clear()
        await self.fail(triton, engine, 2)
        sent = [set(call.request.raw_input_contents[0]) for call in triton.calls]
        assert sent == [{0}, {0}]

    async def test_a_check_leaves_a_model_alone_that_answers(self, triton, engine):
        await engine.infer(photo())
        await engine.check_ready()
        assert len(triton.calls) == 1

    @pytest.fixture
    def idle(self, monkeypatch):
        """Any time without an answer is long."""
        monkeypatch.setattr("silhouette_seg.engine.triton.MAX_SILENCE_S", 0)

    async def test_a_check_probes_what_was_not_heard_of_for_long(self, idle, triton, engine):
        await engine.infer(photo())
        await engine.check_ready()
        assert [set(call.request.raw_input_contents[0]) for call in triton.calls[1:]] == [{0}]

    async def test_a_model_that_never_worked_is_not_probed(self, idle, triton, engine):
        await engine.check_ready()
        assert triton.calls == []

    async def test_a_model_that_dies_unasked_is_found_by_the_check(
        self, idle, triton, connect, port
    ):
        engine = connect(port, probe_interval_s=60)
        await engine.infer(photo())
        triton.failures = [INTERNAL]
        with pytest.raises(EngineFailed):
            await engine.check_ready()
        for refused in (engine.check_ready(), engine.infer(photo())):
            with pytest.raises(EngineFailed, match="not working"):
                await refused
        assert len(triton.calls) == 2

    async def test_a_model_that_hangs_unasked_is_found_by_the_check(
        self, idle, triton, connect, port
    ):
        engine = connect(port, probe_interval_s=60)
        await engine.infer(photo())
        triton.failures = [(StatusCode.DEADLINE_EXCEEDED, "")]
        with pytest.raises(EngineDown, match="does not respond"):
            await engine.check_ready()
        with pytest.raises(EngineFailed, match="not working"):
            await engine.check_ready()

    async def test_a_model_that_others_keep_busy_is_ready(self, idle, triton, engine):
        await engine.infer(photo())
        triton.failures = [(StatusCode.UNAVAILABLE, "Exceeds maximum queue size")]
        await engine.check_ready()
        await engine.infer(photo())


class TestComingAndGoing:
    async def test_nobody_there_is_down(self, connect):
        async with serve_triton(FakeTriton(SPECS)) as port:
            pass
        engine = connect(port)
        with pytest.raises(EngineDown):
            await engine.infer(photo())
        with pytest.raises(EngineDown):
            await engine.check_ready()

    async def test_a_name_that_does_not_resolve_is_down(self, connect):
        with pytest.raises(EngineDown):
            await connect("triton.invalid:8001").check_ready()

    async def test_a_server_that_comes_back_is_used_again(self, connect):
        async with serve_triton(FakeTriton(SPECS)) as port:
            engine = connect(port)
            await engine.infer(photo())
        with pytest.raises(EngineDown):
            await engine.infer(photo())
        async with serve_triton(FakeTriton(SPECS), port):
            await until_up(engine)
            await engine.infer(photo())

    async def test_a_server_that_does_not_answer_is_down(self, triton, connect, port):
        triton.gate.clear()
        with pytest.raises(EngineDown, match="does not respond"):
            await connect(port, check_timeout_s=0.1).check_ready()

    async def test_replicas_take_turns(self, connect):
        replicas = [FakeTriton(SPECS) for _ in range(2)]
        async with serve_triton(replicas[0]) as one, serve_triton(replicas[1]) as two:
            engine = connect(f"ipv4:127.0.0.1:{one},127.0.0.1:{two}")
            async with asyncio.timeout(PATIENCE_S):
                while not all(replica.calls for replica in replicas):
                    await engine.infer(photo())

    async def test_a_replica_that_dies_fails_nobody(self, connect):
        replicas = [FakeTriton(SPECS) for _ in range(2)]
        async with serve_triton(replicas[0]) as one:
            async with serve_triton(replicas[1]) as two:
                engine = connect(f"ipv4:127.0.0.1:{one},127.0.0.1:{two}")
                async with asyncio.timeout(PATIENCE_S):
                    while not all(replica.calls for replica in replicas):
                        await engine.infer(photo())
                for replica in replicas:
                    replica.gate.clear()
                calls = [asyncio.create_task(engine.infer(photo(seed))) for seed in range(6)]
                await replicas[1].wait_until(lambda: replicas[1].running >= 2)
            replicas[0].gate.set()
            for seed, alpha in enumerate(await asyncio.gather(*calls)):
                np.testing.assert_array_equal(alpha, photo(seed)["image"][..., 0])

    async def test_one_channel_for_all_models_until_the_last_is_closed(self, port):
        server = open_inference_server("triton", TritonConfig(f"127.0.0.1:{port}"))
        engines = [server.open_engine(spec) for spec in SPECS]
        await server.check_ready()
        channel = server._channel
        for engine in engines[:-1]:
            await engine.close()
        await engines[-1].infer(photo(spec=SPECS[-1]))
        assert server._channel is channel
        await engines[-1].close()
        assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN

    async def test_opening_connects_to_nobody(self):
        server = open_inference_server("triton", TritonConfig("127.0.0.1:1"))
        engine = server.open_engine(SPEC)
        assert server._channel is None
        await engine.close()

    async def test_close_twice_is_one_close(self, engine):
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
    def test_every_address_of_a_name_is_a_replica(self, url, target):
        assert grpc_target(url) == target


async def until_up(engine):
    """Reconnecting takes gRPC as long as it takes."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await engine.check_ready()
            except EngineDown:
                await asyncio.sleep(0.01)


def test_without_its_client_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "silhouette_seg.engine.triton")
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(ValueError, match=r"install silhouette\[triton\]"):
        open_inference_server("triton", TritonConfig("127.0.0.1:1"))


def test_the_fake_takes_what_the_engine_takes():
    for spec in SPECS:
        assert check_inputs(spec, photo(spec=spec, rows=2)) == 2
