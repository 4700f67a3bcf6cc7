"""The seam between pixels and whatever runs the network."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from service.spec import ModelSpec, TensorSpec

Tensors = Mapping[str, NDArray[Any]]
"""Named inputs, batch first."""


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

    async def infer_timed(self, inputs: Tensors) -> Inference: ...


def timed(engine: Engine) -> Callable[[Tensors], Awaitable[Inference]]:
    """`infer_timed` of any engine. Ask once: the check of a protocol reads every attribute."""
    if isinstance(engine, TimedEngine):
        return engine.infer_timed

    async def infer(inputs: Tensors) -> Inference:
        began = perf_counter()
        output = await engine.infer(inputs)
        return Inference(output, queue_s=0.0, infer_s=perf_counter() - began)

    return infer


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
