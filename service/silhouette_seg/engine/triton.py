"""Models that NVIDIA Triton runs, over gRPC. The one file that knows gRPC and Triton's client."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from silhouette_seg.engine.base import (
    DEADLINE,
    PRIORITY,
    Inference,
    Priority,
    Tensors,
    TritonConfig,
    check_inputs,
    check_output,
    is_degraded,
)
from silhouette_seg.engine.circuit_breaker import CircuitBreaker
from silhouette_seg.engine.triton_errors import (
    MODEL_FAILURE_STATUSES,
    deadline_error,
    error_from_status,
    queue_timeout_error,
)
from silhouette_seg.errors import (
    DeadlineExceeded,
    Draining,
    EngineDown,
    EngineFailed,
    Overloaded,
    ServiceError,
)
from silhouette_seg.spec import ModelSpec, TensorSpec
from silhouette_seg.telemetry import IDENTITY

"""Priorities, as `config.pbtxt` has them: live frames go first."""
KINDS = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32"}
DIGEST_PARAMETER = "sha256"
"""Parameter of a configuration that says which weights it is for; it may be left out."""
FAILURE_THRESHOLD = 3
"""In a row, after which a model is not asked but probed."""
MAX_SILENCE_S = 3
"""Without an answer, after which a check asks for one."""

CHANNEL_OPTIONS = (
    ("grpc.lb_policy_name", "round_robin"),
    # What we may send is bounded by the spec; the answers' default bound is 4 MiB.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Servers take pings more often than every 5 minutes, or without calls, for abuse.
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A server that was gone, or that is back at another address, is found again within seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # How often to try again is for us to say; and what is inside our network needs no proxy.
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)

Message = Any
"""Of protobuf: made at run time, of no type that could be checked."""
Method = Callable[..., grpc.aio.UnaryUnaryCall]

log = logging.getLogger(__name__)


class TritonStatus(Exception):
    """Status and text, for our log: gRPC's own error takes five lines of it."""


class TritonServer:
    """One channel for all the models of a process, shared by every replica's turn.

    It is opened by the first call, in whose event loop it stays, and closed with the last engine.
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

    async def check_ready(self) -> None:
        await asyncio.gather(*(engine.check_ready() for engine in self._engines))

    async def release(self, engine: "TritonEngine") -> None:
        """The engine makes no more calls."""
        self._engines.discard(engine)
        if not self._engines and self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()


class TritonEngine:
    """One model. Triton batches what many of us send.

    Nothing is inferred before the server's model was found to be that of the spec, nor again
    after the server was lost. Calls to a model that only fails stop until a probe passes.
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
        """The server's model is that of the spec, since we last lost the server."""
        self._provider: str | None = None
        self._last_reply: float | None = None
        """When it last answered, or was last asked by a check."""
        self._closed = False
        self.queued = 0
        """Callers that wait for a place."""

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def provider(self) -> str:
        """What the server's configuration says: `triton:tensorrt`, `triton:cuda`, `triton:cpu`;
        `triton` until it was asked.
        """
        return self._provider or "triton"

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        """Raises errors.EngineDown, Overloaded, DeadlineExceeded, Draining too."""
        return (await self.infer_timed(inputs)).output

    async def infer_timed(self, inputs: Tensors) -> Inference:
        """The same, with the wait for a place apart; that in Triton's queue is in the rest."""
        rows = check_inputs(self._spec, inputs)
        arrived = perf_counter()
        deadline = self._deadline()
        async with self._permit():
            began = perf_counter()
            request = self._request(inputs, PRIORITY.get())
            left_s = max(0.001, self._config.queue_timeout_s - (began - arrived))
            request.parameters["timeout"].int64_param = round(1e6 * left_s)
            output = self._read(await self._infer_with_retry(request, deadline), rows)
            return Inference(output, began - arrived, perf_counter() - began)

    async def check_ready(self) -> None:
        """Raises errors.EngineDown, EngineFailed or Draining unless an inference would do."""
        deadline = self._now() + self._config.check_timeout_s
        asked = service_pb2.ModelReadyRequest(name=self._spec.name, version=self._version)
        try:
            await self._ensure_usable(deadline)
            answer = await self._call(self._server.stub.ModelReady, asked, deadline)
            if not answer.ready:
                raise EngineDown(f"The inference server is not ready for {self._spec.name}")
            await self._probe_if_silent(deadline)
        except DeadlineExceeded as error:
            raise EngineDown("The inference server does not answer") from error

    async def close(self) -> None:
        """Whoever still waits gets errors.Draining."""
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
        """One of those that the server holds; raises errors.Overloaded after the queue timeout."""
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
        """Once more while there is time, and of another replica where there is one, when the
        server was not there: an inference changes nothing, so that nothing is done twice.
        """
        try:
            return await self._attempt(request, deadline)
        except EngineDown:
            return await self._attempt(request, deadline)

    async def _attempt(self, request: Message, deadline: float) -> Message:
        await self._ensure_usable(deadline)
        answer = await self._call(self._server.stub.ModelInfer, request, deadline)
        self._breaker.record_success()
        self._last_reply = self._now()
        return answer

    async def _ensure_usable(self, deadline: float) -> None:
        """Returns when the server's model is known to be ours, and to work."""
        if not self._verified:
            async with self._verifying:
                if not self._verified:
                    await self._verify(deadline)
        if self._breaker.is_open:
            if not self._breaker.try_probe(self._now()):
                raise EngineFailed("The inference engine is not working", retry_after_s=1)
            await self._probe(deadline)

    async def _verify(self, deadline: float) -> None:
        """Raises errors.EngineFailed that says what differs from the spec, or from the config."""
        asked = service_pb2.ModelConfigRequest(name=self._spec.name, version=self._version)
        config = (await self._call(self._server.stub.ModelConfig, asked, deadline)).config
        name, device = self._spec.name, self._config.device
        found = config_differences(self._spec, config)
        if found:
            raise EngineFailed(f"Triton's {name} is not that of spec.json: {'; '.join(found)}")
        provider = provider_of_config(config)
        if is_degraded(provider, device):
            if not self._config.allow_degraded:
                raise EngineFailed(f"{device} was asked for, and {provider} runs {name}")
            log.warning("%s was asked for, and %s runs %s", device, provider, name)
        self._provider = provider
        self._verified = True

    async def _probe_if_silent(self, deadline: float) -> None:
        """Triton calls a model ready whose process is dead: one that has worked and was not heard
        of for a while is probed, once for all who check at the time.
        """
        if self._last_reply is None or self._now() < self._last_reply + MAX_SILENCE_S:
            return
        self._last_reply = self._now()
        try:
            await self._probe(deadline)
        except Overloaded:
            return  # others keep it busy
        except (EngineFailed, DeadlineExceeded):
            self._breaker.trip(self._now())
            raise

    async def _probe(self, deadline: float) -> None:
        """A real inference, of one black picture."""
        black = {t.name: np.zeros((1, *t.shape[1:]), t.dtype) for t in self._spec.inputs}
        answer = await self._call(
            self._server.stub.ModelInfer, self._request(black, Priority.PHOTO), deadline
        )
        self._read(answer, rows=1)
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
            shape = array.shape if array.ndim > 1 else (*array.shape, 1)
            request.inputs.add(name=tensor.name, datatype=KINDS[tensor.dtype], shape=shape)
            request.raw_input_contents.append(array.tobytes())
        request.outputs.add(name=self._spec.output.name)
        request.parameters["priority"].uint64_param = priority
        return request

    def _read(self, answer: Message, rows: int) -> NDArray[Any]:
        spec = self._spec.output
        try:
            (tensor,), (raw,) = answer.outputs, answer.raw_output_contents
            if (tensor.name, tensor.datatype) != (spec.name, KINDS[spec.dtype]):
                raise ValueError(f"got {tensor.name} of {tensor.datatype}")
            output = np.frombuffer(raw, spec.dtype).reshape(tensor.shape)
            check_output(self._spec, output, rows)
        except ValueError as error:
            raise EngineFailed("The inference engine's answer is not what was asked") from error
        return output

    async def _call(self, method: Method, request: Message, deadline: float) -> Message:
        """One call of Triton; raises what `error_from_status` makes of its failure."""
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
            raise self._record_failure(error) from TritonStatus(
                f"{error.code().name}: {error.details()}"
            )
        except asyncio.CancelledError:
            if self._was_cancelled_by_close():
                raise Draining from None
            raise
        finally:
            self._calls.discard(call)

    def _was_cancelled_by_close(self) -> bool:
        """Whether it was `close`, and not the caller, that cancelled a call."""
        task = asyncio.current_task()
        return self._closed and task is not None and not task.cancelling()

    def _record_failure(self, error: grpc.aio.AioRpcError) -> ServiceError:
        fault = error_from_status(
            error.code().name, error.details() or "", known=self._provider is not None
        )
        if isinstance(fault, EngineDown):
            self._verified = False
        elif error.code().name in MODEL_FAILURE_STATUSES:
            was_open = self._breaker.is_open
            self._breaker.record_failure(self._now())
            if self._breaker.is_open and not was_open:
                log.error("%s fails again and again: it is probed from now on", self._spec.name)
        return fault


def grpc_target(url: str) -> str:
    """gRPC's name for it: every address that a name has is a replica. `ipv4:` lists are as is."""
    return url if url.startswith(("ipv4:", "ipv6:")) else f"dns:///{url}"


def provider_of_config(config: Message) -> str:
    """What really runs the model, by Triton's configuration of it. One instance on the CPU is
    enough for `triton:cpu`.
    """
    kinds = {group.kind for group in config.instance_group}
    if kinds != {model_config_pb2.ModelInstanceGroup.KIND_GPU}:
        return "triton:cpu"
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    planned = config.backend == "tensorrt" or config.platform == "tensorrt_plan"
    if planned or any(each.name == "tensorrt" for each in accelerators):
        return "triton:tensorrt"
    return "triton:cuda"


def config_differences(spec: ModelSpec, config: Message) -> list[str]:
    """How Triton's configuration of the model differs from the spec, in words."""
    wanted = _tensors(map(_on_wire, spec.inputs), "input")
    wanted |= _tensors([_on_wire(spec.output)], "output")
    found = _tensors(map(_configured, config.input), "input")
    found |= _tensors(map(_configured, config.output), "output")
    differ = [
        f"{name} is {found.get(name, 'missing')} and should be {wanted.get(name, 'absent')}"
        for name in wanted | found
        if found.get(name) != wanted.get(name)
    ]
    if config.max_batch_size < spec.max_batch:
        differ.append(f"max_batch_size is {config.max_batch_size} and should be {spec.max_batch}")
    if DIGEST_PARAMETER in config.parameters:
        digest = config.parameters[DIGEST_PARAMETER].string_value
        if digest != spec.sha256:
            differ.append(f"{DIGEST_PARAMETER} is {digest} and should be {spec.sha256}")
    return differ


_Named = tuple[str, str, Sequence[int]]
"""Name, kind, and sides of one row."""


def _tensors(named: Iterable[_Named], side: str) -> dict[str, str]:
    return {f"{side} {name}": f"{kind} {[-1, *shape]}" for name, kind, shape in named}


def _on_wire(tensor: TensorSpec) -> _Named:
    """One number a row travels as [N,1]: Triton's tensors have an axis besides the batch's."""
    return tensor.name, KINDS[tensor.dtype], tensor.shape[1:] or (1,)


def _configured(tensor: Message) -> _Named:
    kind = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    return tensor.name, kind, tensor.dims


def _metadata() -> tuple[tuple[str, str], ...]:
    identity = IDENTITY.get()
    if identity is None or identity.traceparent is None:
        return ()
    return (("traceparent", identity.traceparent),)
