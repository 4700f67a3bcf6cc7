"""Engine of one model on a Triton server, and the client that its engines share."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from silhouette_seg.engine.base import (
    DEADLINE,
    PRIORITY,
    Inference,
    Priority,
    Tensors,
    TritonConfig,
    black_input,
    check_inputs,
    check_output,
    is_degraded,
    queue_timeout_error,
)
from silhouette_seg.engine.circuit_breaker import CircuitBreaker
from silhouette_seg.engine.triton.channel import CHANNEL_OPTIONS, grpc_target
from silhouette_seg.engine.triton.errors import (
    MODEL_FAILURE_STATUSES,
    deadline_error,
    error_from_status,
)
from silhouette_seg.engine.triton.model_config import config_differences, provider_of
from silhouette_seg.errors import (
    DeadlineExceeded,
    Draining,
    EngineDown,
    EngineFailed,
    Overloaded,
    ServiceError,
)
from silhouette_seg.spec import ModelSpec
from silhouette_seg.telemetry import IDENTITY

FAILURE_THRESHOLD = 3
"""Number of consecutive failures after which a model gets no calls except probes."""
MAX_SILENCE_S = 3
"""Seconds without a reply of a model after which a readiness check probes it."""
MIN_QUEUE_TIMEOUT_S = 0.001
"""Shortest queue timeout, in seconds, sent to Triton.

There 0 would select the default of the model.
"""

Message = Any
"""Protobuf message of Triton's API.

Protobuf creates the classes at run time, so they have no static type.
"""
Method = Callable[..., grpc.aio.UnaryUnaryCall]

log = logging.getLogger(__name__)


class TritonStatus(Exception):
    """Status and text of a failed gRPC call, for the log, where gRPC's error takes five lines."""


class TritonServer:
    """Client of a Triton server: one gRPC channel for all models; calls alternate between replicas.

    The first call opens the channel, in its own event loop. The last engine closes it.
    """

    def __init__(self, config: TritonConfig) -> None:
        self.config = config
        self._engines: set[TritonEngine] = set()
        self._channel: grpc.aio.Channel | None = None
        self._stub: service_pb2_grpc.GRPCInferenceServiceStub | None = None

    @property
    def stub(self) -> service_pb2_grpc.GRPCInferenceServiceStub:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(
                grpc_target(self.config.url), options=CHANNEL_OPTIONS
            )
            self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        return self._stub

    def open_engine(self, spec: ModelSpec) -> "TritonEngine":
        engine = TritonEngine(spec, self)
        self._engines.add(engine)
        return engine

    async def check_ready(self, names: Collection[str]) -> None:
        engines = [engine for engine in self._engines if engine.spec.name in names]
        await asyncio.gather(*(engine.check_ready() for engine in engines))

    async def release(self, engine: "TritonEngine") -> None:
        """Removes a closed engine from the server, and closes the channel with the last engine."""
        self._engines.discard(engine)
        if not self._engines and self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()


class TritonEngine:
    """Engine of one model on a Triton server. Triton batches the requests of all its clients.

    No inference is sent before the server's model is compared with the spec. After the loss of the
    server it is compared again. A model that keeps failing gets no calls until a probe succeeds.
    """

    def __init__(self, spec: ModelSpec, server: TritonServer) -> None:
        self._spec = spec
        self._server = server
        self._config = server.config
        self._permits = asyncio.Semaphore(self._config.max_in_flight)
        self._breaker = CircuitBreaker(
            failure_threshold=FAILURE_THRESHOLD, probe_interval_s=self._config.probe_interval_s
        )
        self._calls: set[grpc.aio.Call] = set()
        self._verifying = asyncio.Lock()
        self._verified = False
        """True if the server's model matched the spec since the server was last lost."""
        self._provider: str | None = None
        self._last_reply: float | None = None
        """Time of the last reply, or of the last probe of a silent model; None before any reply.

        It is in seconds on the clock of the event loop.
        """
        self._closed = False
        self.queued = 0
        """Number of callers that wait because `max_in_flight` requests are running."""

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def provider(self) -> str:
        """Device of the model in the configuration of the Triton server.

        It is `triton:tensorrt`, `triton:cuda` or `triton:cpu`, and `triton` until the first
        comparison with the spec.
        """
        return self._provider or "triton"

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        """Runs one inference and returns its output tensor; raises the errors of `infer_timed`."""
        return (await self.infer_timed(inputs)).output

    async def infer_timed(self, inputs: Tensors) -> Inference:
        """Runs one inference on Triton and returns its output with its times.

        `queue_s` is the wait in this process; `infer_s` includes Triton's own queue. Raises
        errors.Overloaded for a full queue or a queue timeout, and DeadlineExceeded at the deadline.
        Raises EngineDown without a server, EngineFailed for a failing model, and Draining after
        `close`. Raises ValueError for inputs that differ from the spec.
        """
        rows = check_inputs(self._spec, inputs)
        arrived_at = perf_counter()
        deadline = self._deadline()
        async with self._permit():
            started_at = perf_counter()
            queue_s = started_at - arrived_at
            request = self._request(inputs, PRIORITY.get())
            left_s = max(MIN_QUEUE_TIMEOUT_S, self._config.queue_timeout_s - queue_s)
            request.parameters["timeout"].int64_param = round(1e6 * left_s)
            output = self._parse(await self._infer_with_retry(request, deadline), rows)
            return Inference(output, queue_s, perf_counter() - started_at)

    async def check_ready(self) -> None:
        """Returns if an inference would succeed now.

        Raises errors.EngineDown if the server is lost, slow or not ready, and Draining after
        `close`. Raises EngineFailed if the model fails or does not match the spec.
        """
        deadline = self._now() + self._config.check_timeout_s
        request = service_pb2.ModelReadyRequest(name=self._spec.name, version=self._version)
        try:
            await self._ensure_usable(deadline)
            reply = await self._call(self._server.stub.ModelReady, request, deadline)
            if not reply.ready:
                raise EngineDown(f"The inference server is not ready for {self._spec.name}")
            await self._probe_if_silent(deadline)
        except DeadlineExceeded as error:
            raise EngineDown("The inference server does not respond") from error

    async def close(self) -> None:
        """Cancels the running calls, which raise errors.Draining in their callers."""
        self._closed = True
        for call in list(self._calls):
            call.cancel()
        await self._server.release(self)

    @property
    def _version(self) -> str:
        return str(self._spec.version)

    def _deadline(self) -> float:
        deadline = DEADLINE.get()
        return self._now() + self._config.request_timeout_s if deadline is None else deadline

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    @asynccontextmanager
    async def _permit(self) -> AsyncIterator[None]:
        """Context manager that holds one of the `max_in_flight` permits to send a request.

        Raises errors.Overloaded if none is free within `queue_timeout_s` seconds.
        """
        self.queued += 1
        try:
            async with asyncio.timeout(self._config.queue_timeout_s):
                await self._permits.acquire()
        except TimeoutError:
            raise queue_timeout_error() from None
        finally:
            self.queued -= 1
        try:
            yield
        finally:
            self._permits.release()

    async def _infer_with_retry(self, request: Message, deadline: float) -> Message:
        """Sends an inference and returns the reply. Sends it again once if the server was lost.

        The second goes to another replica if there is one. An inference changes no state, so that a
        repeated one does no harm.
        """
        try:
            return await self._infer_once(request, deadline)
        except EngineDown:
            return await self._infer_once(request, deadline)

    async def _infer_once(self, request: Message, deadline: float) -> Message:
        await self._ensure_usable(deadline)
        reply = await self._call(self._server.stub.ModelInfer, request, deadline)
        self._breaker.record_success()
        self._last_reply = self._now()
        return reply

    async def _ensure_usable(self, deadline: float) -> None:
        """Returns when the server's model matches the spec and its circuit breaker is closed.

        Raises errors.EngineFailed if the breaker is open and no probe is due, and the errors of a
        probe.
        """
        if not self._verified:
            async with self._verifying:
                if not self._verified:
                    await self._verify(deadline)
        if self._breaker.is_open:
            if not self._breaker.try_probe(self._now()):
                raise EngineFailed("The inference engine is not working", retry_after_s=1)
            await self._probe(deadline)

    async def _verify(self, deadline: float) -> None:
        """Compares the server's model with the spec and with the required device.

        Raises errors.EngineFailed with the differences in its message.
        """
        request = service_pb2.ModelConfigRequest(name=self._spec.name, version=self._version)
        config = (await self._call(self._server.stub.ModelConfig, request, deadline)).config
        name, device = self._spec.name, self._config.device
        differences = config_differences(self._spec, config)
        if differences:
            raise EngineFailed(
                f"Triton's {name} does not match spec.json: {'; '.join(differences)}"
            )
        provider = provider_of(config)
        if is_degraded(provider, device):
            if not self._config.allow_degraded:
                raise EngineFailed(f"{name} requires {device} and runs on {provider}")
            log.warning("degraded: %s requires %s and runs on %s", name, device, provider)
        self._provider = provider
        self._verified = True

    async def _probe_if_silent(self, deadline: float) -> None:
        """Probes a model that has worked but sent no reply for `MAX_SILENCE_S` seconds.

        Triton reports a model as ready even if its process is dead. Concurrent checks share one
        probe. Raises errors.EngineFailed or DeadlineExceeded if the probe fails.
        """
        if self._last_reply is None or self._now() < self._last_reply + MAX_SILENCE_S:
            return
        self._last_reply = self._now()
        try:
            await self._probe(deadline)
        except Overloaded:
            return  # the model serves other clients
        except (EngineFailed, DeadlineExceeded):
            self._breaker.trip(self._now())
            raise

    async def _probe(self, deadline: float) -> None:
        """Infers a black image and closes the circuit breaker.

        Raises the error of a failed inference, without closing the breaker.
        """
        request = self._request(black_input(self._spec), Priority.PHOTO)
        reply = await self._call(self._server.stub.ModelInfer, request, deadline)
        self._parse(reply, rows=1)
        self._last_reply = self._now()
        if self._breaker.is_open:
            log.warning("%s works again", self._spec.name)
        self._breaker.close()

    def _request(self, inputs: Tensors, priority: Priority) -> Message:
        identity = IDENTITY.get()
        request = service_pb2.ModelInferRequest(
            model_name=self._spec.name,
            model_version=self._version,
            id=identity.request_id if identity else "",
        )
        for tensor in self._spec.inputs:
            array = inputs[tensor.name]
            shape = (len(array), *tensor.row_shape)
            request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
            request.raw_input_contents.append(array.tobytes())
        request.outputs.add(name=self._spec.output.name)
        request.parameters["priority"].uint64_param = priority
        return request

    def _parse(self, reply: Message, rows: int) -> NDArray[Any]:
        spec = self._spec.output
        try:
            (tensor,), (raw,) = reply.outputs, reply.raw_output_contents
            if (tensor.name, tensor.datatype) != (spec.name, spec.datatype):
                raise ValueError(f"got {tensor.name} of {tensor.datatype}")
            output = np.frombuffer(raw, spec.dtype).reshape(tensor.shape)
            check_output(self._spec, output, rows)
        except ValueError as error:
            raise EngineFailed("The engine's output does not match its spec") from error
        return output

    async def _call(self, method: Method, request: Message, deadline: float) -> Message:
        """Makes one gRPC call and returns the reply.

        `deadline` is in seconds on the clock of the event loop. Raises the error that
        `error_from_status` returns for a failed call, DeadlineExceeded past the deadline, and
        Draining after `close`.
        """
        if self._closed:
            raise Draining
        left_s = deadline - self._now()
        if left_s <= 0:
            raise deadline_error()
        call = method(request, timeout=left_s, metadata=_metadata())
        self._calls.add(call)
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            status = TritonStatus(f"{error.code().name}: {error.details()}")
            raise self._record_failure(error) from status
        except asyncio.CancelledError:
            if self._was_cancelled_by_close():
                raise Draining from None
            raise
        finally:
            self._calls.discard(call)

    def _was_cancelled_by_close(self) -> bool:
        """Returns whether `close`, not the caller, cancelled the current call."""
        task = asyncio.current_task()
        return self._closed and task is not None and not task.cancelling()

    def _record_failure(self, error: grpc.aio.AioRpcError) -> ServiceError:
        status = error.code().name
        failure = error_from_status(status, error.details() or "", known=self._provider is not None)
        if isinstance(failure, EngineDown):
            self._verified = False
        elif status in MODEL_FAILURE_STATUSES:
            was_open = self._breaker.is_open
            self._breaker.record_failure(self._now())
            if self._breaker.is_open and not was_open:
                log.error("%s fails repeatedly; only probes are sent now", self._spec.name)
        return failure


def _metadata() -> tuple[tuple[str, str], ...]:
    identity = IDENTITY.get()
    if identity is None or identity.traceparent is None:
        return ()
    return (("traceparent", identity.traceparent),)
