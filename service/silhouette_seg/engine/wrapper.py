"""Base class of the engines that wrap another engine."""

from typing import Any

from numpy.typing import NDArray

from silhouette_seg.engine.base import (
    Engine,
    Inference,
    Tensors,
    TimedEngine,
    image_seconds,
    with_timings,
)
from silhouette_seg.spec import ModelSpec


class EngineWrapper:
    """Engine that delegates to the engine that it wraps. Subclasses override `infer_timed`."""

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
        """Number of callers that wait in the queue of the wrapped engine, 0 when it has none."""
        return self._engine.queued if isinstance(self._engine, TimedEngine) else 0

    @property
    def image_s(self) -> float:
        """Seconds per image of the fastest inference so far; 0 if they are not measured."""
        return image_seconds(self._engine)

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        """Runs one inference and returns its output tensor; raises the errors of `infer_timed`."""
        return (await self.infer_timed(inputs)).output

    async def infer_timed(self, inputs: Tensors) -> Inference:
        """Runs the wrapped engine and returns its output with its times; raises its errors."""
        return await self._infer(inputs)

    async def close(self) -> None:
        await self._engine.close()
