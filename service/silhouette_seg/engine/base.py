"""Interface between image processing and the runtime that executes a network."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.errors import Overloaded
from silhouette_seg.spec import ModelSpec, TensorSpec

Tensors = Mapping[str, NDArray[Any]]
"""Input arrays by tensor name. The first axis of each is the batch."""

DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)
"""Time at which the caller gives up, in seconds on the event loop's clock; None: no deadline.

An engine in this process ignores it, because its caller is cancelled. A remote engine sends it to
its server.
"""


class Priority(IntEnum):
    """Order among requests for one model. Lower values are served first, as in Triton."""

    LIVE = 1
    """Frame of a stream, which is useless when it is late."""
    PHOTO = 2


PRIORITY: ContextVar[Priority] = ContextVar("priority", default=Priority.PHOTO)
"""Priority of the inference that the current task requests. The queue of an engine reads it."""

SLOWER_DEVICES: Mapping[str, tuple[str, ...]] = {
    "cpu": (),
    "cuda": ("cpu",),
    "tensorrt": ("cuda", "cpu"),
    "coreml": ("cpu",),
    "directml": ("cpu",),
    "rocm": ("cpu",),
}
"""Device that can run a model -> slower devices that can run the same model, fastest first."""

_PROVIDER_DEVICES = {
    "tensorrt": "tensorrt",
    "cuda": "cuda",
    "coreml": "coreml",
    "dml": "directml",
    "migraphx": "rocm",
}
"""Part of a provider's name in lower case -> its device."""


class Engine(Protocol):
    """Runs one model on input tensors. An engine is independent of HTTP, images and queues."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def provider(self) -> str:
        """Name of the runtime that executes the model, for example `CPUExecutionProvider`."""
        ...

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        """Returns the model's output tensor; row i of it belongs to row i of the inputs.

        Raises errors.EngineFailed when the runtime fails, and ValueError when the inputs differ
        from the spec.
        """
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Inference:
    """Output of an inference, with the seconds that it waited in a queue and ran."""

    output: NDArray[Any]
    queue_s: float
    infer_s: float


@runtime_checkable
class TimedEngine(Engine, Protocol):
    """Engine with a queue, which reports queue time and run time separately."""

    @property
    def queued(self) -> int:
        """Number of callers that wait in the queue."""
        ...

    async def infer_timed(self, inputs: Tensors) -> Inference: ...


def with_timings(engine: Engine) -> Callable[[Tensors], Awaitable[Inference]]:
    """Returns a function from input tensors to an `Inference`, for any engine.

    For an engine with a queue it is `infer_timed`. For any other `queue_s` is 0. Call it once per
    engine: the check of the protocol reads every attribute.
    """
    if isinstance(engine, TimedEngine):
        return engine.infer_timed

    async def infer(inputs: Tensors) -> Inference:
        start = perf_counter()
        output = await engine.infer(inputs)
        return Inference(output, queue_s=0.0, infer_s=perf_counter() - start)

    return infer


@dataclass(frozen=True, slots=True)
class TritonConfig:
    """Address, requirements and limits of an NVIDIA Triton inference server."""

    url: str
    device: str = "cpu"
    """Slowest device on which a model may run, one of `DEVICES`."""
    allow_degraded: bool = False
    """True accepts a model that runs on a device slower than `device`."""
    request_timeout_s: float = 10
    """Timeout, in seconds, of an inference without a `DEADLINE`."""
    queue_timeout_s: float = 2
    """Longest wait, in seconds, in this process and in Triton's queue together."""
    max_in_flight: int = 64
    """Maximum number of concurrent requests to one model of the server."""
    check_timeout_s: float = 2
    """Timeout of a readiness check, in seconds."""
    probe_interval_s: float = 1
    """Seconds between probes of a model that keeps failing."""


class InferenceServer(Protocol):
    """Server that runs models for this process. It can be down while this process runs."""

    def open_engine(self, spec: ModelSpec) -> Engine:
        """Returns an engine for one model without connecting; the first use connects.

        The connection is closed when the last engine is closed.
        """
        ...

    async def check_ready(self, names: Collection[str]) -> None:
        """Returns when each opened model of `names` exists, matches its spec and works.

        Raises errors.EngineDown for a condition that may pass by itself, and errors.EngineFailed
        for any other.
        """
        ...


def is_degraded(provider: str, device: str) -> bool:
    """Returns whether an execution provider runs on a slower device than `device`.

    `provider` is its name. A provider without a known device counts as the CPU's. `device` is a key
    of `SLOWER_DEVICES`.
    """
    parts = (part for part in _PROVIDER_DEVICES if part in provider.lower())
    return _PROVIDER_DEVICES.get(next(parts, ""), "cpu") in SLOWER_DEVICES[device]


def queue_timeout_error(retry_after_s: int = 1) -> Overloaded:
    return Overloaded("The image waited too long for the model", retry_after_s=retry_after_s)


def image_seconds(engine: Engine) -> float:
    """Returns the seconds per image of the fastest inference of an engine so far.

    It is 0 for an engine without the attribute `image_s`, such as one on an inference server.
    """
    return float(getattr(engine, "image_s", 0.0))


def black_input(spec: ModelSpec) -> Tensors:
    """Returns a batch of one black image: zeros for each input tensor of the model, by name."""
    return {t.name: np.zeros((1, *t.shape[1:]), t.dtype) for t in spec.inputs}


def check_inputs(spec: ModelSpec, inputs: Tensors) -> int:
    """Returns the number of rows, the batch size, of a model's inputs.

    Raises ValueError unless names, dtypes and shapes match the spec, with the same number of rows,
    at most `spec.max_batch`, in each.
    """
    names = {tensor.name for tensor in spec.inputs}
    if inputs.keys() != names:
        raise ValueError(f"{spec.name} takes {sorted(names)}, got {sorted(inputs)}")
    for tensor in spec.inputs:
        _check_tensor(spec, tensor, inputs[tensor.name])
    rows = {len(inputs[name]) for name in names}
    if len(rows) != 1 or not 1 <= max(rows) <= spec.max_batch:
        raise ValueError(f"{spec.name} takes 1 to {spec.max_batch} rows, got {sorted(rows)}")
    return rows.pop()


def check_output(spec: ModelSpec, output: NDArray[Any], rows: int) -> None:
    """Raises ValueError unless a model's output has the spec's dtype and shape, and `rows` rows."""
    _check_tensor(spec, spec.output, output)
    if len(output) != rows:
        raise ValueError(f"{spec.name} gave {len(output)} rows for {rows}")


def _check_tensor(spec: ModelSpec, tensor: TensorSpec, array: NDArray[Any]) -> None:
    matches = len(tensor.shape) == array.ndim and all(
        expected in (-1, actual) for expected, actual in zip(tensor.shape, array.shape, strict=True)
    )
    if array.dtype != tensor.dtype or not matches:
        raise ValueError(
            f"{spec.name}: {tensor.name} is {tensor.dtype} {tensor.shape},"
            f" got {array.dtype} {array.shape}"
        )
