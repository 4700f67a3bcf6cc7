"""TritonEngine against a fake server; tests/triton runs it against a real one."""

import asyncio

import numpy as np
import pytest

from silhouette_seg.engine import open_inference_server
from silhouette_seg.engine.base import DEADLINE, PRIORITY, Priority, TritonConfig
from silhouette_seg.errors import (
    DeadlineExceeded,
    Draining,
    EngineFailed,
    Overloaded,
)
from silhouette_seg.telemetry import IDENTITY, Identity
from tests.unit.engine.inputs import SPECS, photo

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class TestOutputs:
    @pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
    @pytest.mark.parametrize("rows", [1, 3, 8])
    async def test_output_rows_belong_to_input_rows(self, triton, connect, port, spec, rows):
        inputs = photo(7, rows, spec)
        output = await connect(port, spec).infer(inputs)
        np.testing.assert_array_equal(output, await triton.models[spec.name].infer(inputs))
        assert output.dtype == spec.output.dtype

    async def test_request_names_version_and_output_of_the_spec(self, triton, engine):
        await engine.infer(photo())
        request = triton.calls[0].request
        assert (request.model_name, request.model_version) == ("connectnet", "1")
        assert [output.name for output in request.outputs] == ["alpha"]

    async def test_concurrent_callers_get_their_own_rows(self, engine):
        callers = [photo(seed) for seed in range(24)]
        answers = await asyncio.gather(*map(engine.infer, callers))
        for inputs, alpha in zip(callers, answers, strict=True):
            np.testing.assert_array_equal(alpha, inputs["image"][..., 0])

    async def test_concurrent_first_callers_verify_the_model_once(self, triton, engine):
        await asyncio.gather(*(engine.infer(photo()) for _ in range(6)))
        await engine.check_ready()
        assert triton.config_requests == 1

    async def test_wrong_inputs_are_not_sent(self, triton, engine):
        with pytest.raises(ValueError, match="connectnet"):
            await engine.infer({"image": photo()["image"][:, 1:]})
        assert triton.calls == []

    @pytest.mark.parametrize(
        "change",
        [
            lambda reply: reply.outputs.pop(),
            lambda reply: reply.raw_output_contents.pop(),
            lambda reply: setattr(reply.outputs[0], "name", "beta"),
            lambda reply: setattr(reply.outputs[0], "datatype", "FP32"),
            lambda reply: reply.outputs[0].shape.append(1),
            lambda reply: reply.outputs[0].shape.__setitem__(1, 5),
        ],
    )
    async def test_reply_that_contradicts_the_spec_raises(self, triton, engine, change):
        infer = triton._infer

        async def infer_and_change(request):
            reply = await infer(request)
            change(reply)
            return reply

        triton._infer = infer_and_change
        with pytest.raises(EngineFailed, match="does not match its spec"):
            await engine.infer(photo())


class TestRequestMetadata:
    async def test_request_carries_priority_of_photo_or_live_frame(self, triton, engine):
        await engine.infer(photo())
        token = PRIORITY.set(Priority.LIVE)
        await engine.infer(photo())
        PRIORITY.reset(token)
        sent = [call.request.parameters["priority"].uint64_param for call in triton.calls]
        assert sent == [Priority.PHOTO, Priority.LIVE] == [2, 1]

    async def test_request_carries_the_remaining_queue_timeout(self, triton, connect, port):
        await connect(port, queue_timeout_s=1.5).infer(photo())
        sent = triton.calls[0].request.parameters["timeout"].int64_param
        assert 0 < sent <= 1_500_000

    async def test_call_without_deadline_has_the_request_timeout(self, triton, connect, port):
        await connect(port, request_timeout_s=300).infer(photo())
        assert 200 < triton.calls[0].time_remaining <= 301

    async def test_call_has_the_deadline_of_its_caller(self, triton, engine):
        token = DEADLINE.set(asyncio.get_running_loop().time() + 5)
        await engine.infer(photo())
        DEADLINE.reset(token)
        assert 0 < triton.calls[0].time_remaining <= 5.5

    async def test_request_carries_request_id_and_traceparent(self, triton, engine):
        token = IDENTITY.set(Identity("order-17", "0af7", TRACEPARENT))
        await engine.infer(photo())
        IDENTITY.reset(token)
        assert triton.calls[0].headers["traceparent"] == TRACEPARENT
        assert triton.calls[0].request.id == "order-17"

    async def test_request_without_identity_has_no_traceparent(self, triton, engine):
        await engine.infer(photo())
        assert "traceparent" not in triton.calls[0].headers


class TestPendingCalls:
    """Calls without a reply yet."""

    @pytest.fixture
    def held(self, triton):
        triton.gate.clear()
        return triton

    async def test_cancelled_caller_cancels_its_call(self, held, engine):
        call = asyncio.create_task(engine.infer(photo()))
        await held.wait_until(lambda: held.running == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await held.wait_until(lambda: held.running == 0)
        assert held.cancelled == 1

    async def test_deadline_cancels_the_call_on_the_server(self, held, connect, port):
        with pytest.raises(DeadlineExceeded):
            await connect(port, request_timeout_s=0.2).infer(photo())
        await held.wait_until(lambda: held.running == 0)
        assert len(held.calls) == 1

    async def test_calls_in_flight_never_exceed_the_limit(self, held, connect, port):
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

    async def test_wait_for_permit_beyond_queue_timeout_is_overloaded(self, held, connect, port):
        engine = connect(port, max_in_flight=1, queue_timeout_s=0.05)
        first = asyncio.create_task(engine.infer(photo()))
        await held.wait_until(lambda: held.running == 1)
        with pytest.raises(Overloaded) as caught:
            await engine.infer(photo())
        assert caught.value.retry_after_s == 1
        assert len(held.calls) == 1
        held.gate.set()
        await first

    async def test_cancelled_caller_leaves_the_queue(self, held, connect, port):
        engine = connect(port, max_in_flight=1)
        first = asyncio.create_task(engine.infer(photo()))
        await held.wait_until(lambda: held.running == 1)
        cancelled, third = [asyncio.create_task(engine.infer(photo(3))) for _ in range(2)]
        await asyncio.sleep(0)
        cancelled.cancel()
        held.gate.set()
        await asyncio.gather(first, third)
        assert (engine.queued, len(held.calls)) == (0, 2)

    async def test_close_fails_running_and_queued_callers(self, held, connect, port):
        engine = connect(port, max_in_flight=1)
        calls = [asyncio.create_task(engine.infer(photo())) for _ in range(2)]
        await held.wait_until(lambda: held.running == 1)
        await engine.close()
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in errors] == [Draining, Draining]
        await held.wait_until(lambda: held.running == 0)

    async def test_close_of_one_model_keeps_the_others_open(self, held, port):
        server = open_inference_server("triton", TritonConfig(f"127.0.0.1:{port}"))
        one, other = server.open_engine(SPECS[0]), server.open_engine(SPECS[1])
        running = asyncio.create_task(one.infer(photo()))
        other_running = asyncio.create_task(other.infer(photo(spec=other.spec)))
        await held.wait_until(lambda: held.running == 2)
        await one.close()
        with pytest.raises(Draining):
            await running
        held.gate.set()
        await other_running
        await other.close()

    async def test_caller_cancelled_during_close_stays_cancelled(self, held, engine):
        call = asyncio.create_task(engine.infer(photo()))
        await held.wait_until(lambda: held.running == 1)
        call.cancel()
        await engine.close()
        with pytest.raises(asyncio.CancelledError):
            await call
