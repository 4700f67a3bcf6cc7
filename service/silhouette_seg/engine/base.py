"""The seam between pixels and whatever runs the network."""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from silhouette_seg.spec import ModelSpec, TensorSpec

Tensors = Mapping[str, NDArray[Any]]
"""Named inputs, batch first."""

DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)
"""When whoever asks stops waiting, on the clock of the event loop. An engine in process need not
look: its caller is cancelled. One elsewhere passes it on.
"""


class Priority(IntEnum):
    """Of two that wait for the same model the lower one is next; the numbers are Triton's."""

    LIVE = 1
    """A frame of a stream: late, it is worth nothing."""
    PHOTO = 2


PRIORITY: ContextVar[Priority] = ContextVar("priority", default=Priority.PHOTO)
"""Of what is being inferred, for whoever holds a queue."""

DEVICES = ("cpu", "cuda", "tensorrt")
"""What may run a model, slowest first."""


class Engine(Protocol):
    """Runs one model. Knows nothing of HTTP, images or queues."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def provider(self) -> str:
        """What really runs the model, for example `CPUExecutionProvider`."""
        ...

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        """Row i of the result, which is what `spec.output` says, answers row i of the inputs.

        Raises errors.EngineFailed when the runtime fails, ValueError when the inputs are not
        what the spec says.
        """
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Inference:
    """A result, and where its time went."""

    output: NDArray[Any]
    queue_s: float
    infer_s: float


@runtime_checkable
class TimedEngine(Engine, Protocol):
    """An engine with a queue, which alone can tell waiting from running."""

    @property
    def queued(self) -> int:
        """Callers that wait for a place."""
        ...

    async def infer_timed(self, inputs: Tensors) -> Inference: ...


def with_timings(engine: Engine) -> Callable[[Tensors], Awaitable[Inference]]:
    """`infer_timed` of any engine. Ask once: the check of a protocol reads every attribute."""
    if isinstance(engine, TimedEngine):
        return engine.infer_timed

    async def infer(inputs: Tensors) -> Inference:
        began = perf_counter()
        output = await engine.infer(inputs)
        return Inference(output, queue_s=0.0, infer_s=perf_counter() - began)

    return infer


class EngineWrapper:
    """A timed engine around any engine: all is that engine's, but for what a subclass does to an
    inference.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._infer = with_timings(engine)

    @property
    def spec(self) -> ModelSpec:
        return self._engine.spec

    @property
    def provider(self) -> str:
        return self._engine.provider

    @property
    def queued(self) -> int:
        """Callers that wait for a place; of an engine without a queue nobody does."""
        return self._engine.queued if isinstance(self._engine, TimedEngine) else 0

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        """Raises what `infer_timed` does."""
        return (await self.infer_timed(inputs)).output

    async def infer_timed(self, inputs: Tensors) -> Inference:
        """Raises what the engine does."""
        return await self._infer(inputs)

    async def close(self) -> None:
        await self._engine.close()


@dataclass(frozen=True, slots=True)
class TritonConfig:
    """How to ask a server that runs models for us."""

    url: str
    device: str = "cpu"
    """What has to run the models at least: one of `DEVICES`."""
    allow_degraded: bool = False
    """Go on where something slower runs them."""
    request_timeout_s: float = 10
    """For an inference whose caller has no `DEADLINE`."""
    queue_timeout_s: float = 2
    """For a place here, and then for one there."""
    max_in_flight: int = 64
    """Requests of one model that the server may hold at once."""
    check_timeout_s: float = 2
    """For the server to say that it is ready."""
    probe_interval_s: float = 1
    """How often to try a model that only failed."""


class InferenceServer(Protocol):
    """A server that runs models for us, and may be gone while we are not."""

    def open_engine(self, spec: ModelSpec) -> Engine:
        """Asks nobody yet: the first use does. The last engine to close hangs up."""
        ...

    async def check_ready(self) -> None:
        """Returns when every model that was opened is there, is that of its spec, and works.

        Raises errors.EngineDown when that may pass by itself, errors.EngineFailed when not.
        """
        ...


def is_degraded(provider: str, device: str) -> bool:
    """Whether `provider` runs on something slower than the device."""
    named = (rank for rank, each in enumerate(DEVICES) if each in provider.lower())
    return max(named, default=0) < DEVICES.index(device)


def check_inputs(spec: ModelSpec, inputs: Tensors) -> int:
    """The number of rows; raises ValueError unless the inputs are exactly what the spec says."""
    names = {tensor.name for tensor in spec.inputs}
    if inputs.keys() != names:
        raise ValueError(f"{spec.name} takes {sorted(names)}, got {sorted(inputs)}")
    for tensor in spec.inputs:
        _check(spec, tensor, inputs[tensor.name])
    rows = {len(inputs[name]) for name in names}
    if len(rows) != 1 or not 1 <= max(rows) <= spec.max_batch:
        raise ValueError(f"{spec.name} takes 1 to {spec.max_batch} rows, got {sorted(rows)}")
    return rows.pop()


def check_output(spec: ModelSpec, output: NDArray[Any], rows: int) -> None:
    """Raises ValueError unless there is one row of the right kind for each row asked."""
    _check(spec, spec.output, output)
    if len(output) != rows:
        raise ValueError(f"{spec.name} gave {len(output)} rows for {rows}")


def _check(spec: ModelSpec, tensor: TensorSpec, array: NDArray[Any]) -> None:
    fits = len(tensor.shape) == array.ndim and all(
        expected in (-1, actual) for expected, actual in zip(tensor.shape, array.shape, strict=True)
    )
    if array.dtype != tensor.dtype or not fits:
        raise ValueError(
            f"{spec.name}: {tensor.name} is {tensor.dtype} {tensor.shape},"
            f" got {array.dtype} {array.shape}"
        )
