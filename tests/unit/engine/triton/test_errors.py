"""Errors of failed calls, and their retry."""

import asyncio

import numpy as np
import pytest
from grpc import StatusCode

from silhouette_seg.engine.base import DEADLINE
from silhouette_seg.engine.triton.errors import error_from_status
from silhouette_seg.errors import (
    DeadlineExceeded,
    EngineDown,
    EngineFailed,
    Overloaded,
)
from tests.unit.engine.inputs import photo

FAILURES = [
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


class TestErrors:
    @pytest.mark.parametrize(("status", "text", "kind", "attempts"), FAILURES)
    async def test_failed_call_is_retried_only_if_server_was_lost(
        self, triton, engine, status, text, kind, attempts
    ):
        await engine.infer(photo())
        triton.calls.clear()
        triton.failures = [(StatusCode[status], text)] * 9
        with pytest.raises(kind) as caught:
            await engine.infer(photo())
        assert type(caught.value) is kind
        assert len(triton.calls) == attempts
        assert caught.value.retryable
        assert text not in caught.value.detail
        assert not set("/\\") & set(caught.value.detail)
        triton.failures.clear()
        np.testing.assert_array_equal(await engine.infer(photo(5)), photo(5)["image"][..., 0])

    @pytest.mark.parametrize(("status", "text"), [(f[0], f[1]) for f in FAILURES if f[3] == 2])
    async def test_second_attempt_returns_the_output(self, triton, engine, status, text):
        await engine.infer(photo())
        triton.failures = [(StatusCode[status], text)]
        np.testing.assert_array_equal(await engine.infer(photo(5)), photo(5)["image"][..., 0])
        assert len(triton.calls) == 3

    @pytest.mark.parametrize("text", ["Exceeds maximum queue size", "Request timeout expired"])
    def test_full_queue_error_has_retry_after(self, text):
        assert error_from_status("UNAVAILABLE", text, known=True).retry_after_s == 1

    def test_unknown_model_is_not_reported_as_a_restart(self):
        assert type(error_from_status("NOT_FOUND", "unknown model", known=False)) is EngineFailed

    async def test_second_attempt_ends_at_the_deadline(self, triton, engine):
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

    async def test_call_after_its_deadline_is_not_sent(self, triton, engine):
        token = DEADLINE.set(asyncio.get_running_loop().time() - 1)
        with pytest.raises(DeadlineExceeded):
            await engine.infer(photo())
        DEADLINE.reset(token)
        assert triton.calls == []
