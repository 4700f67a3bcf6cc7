"""An engine that somebody watches: each inference, how long it waited, and how it failed."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import NDArray

from service.engine.base import Engine, Inference, Tensors, TimedEngine, timed
from service.spec import ModelSpec


class Watch(Protocol):
    """Over one inference."""

    def waited(self, queue_s: float) -> None: ...


class Watched:
    """An engine around an engine. `watch` is entered for each inference, and left with what that
    raises.
    """

    def __init__(self, engine: Engine, watch: Callable[[], AbstractContextManager[Watch]]) -> None:
        self._engine = engine
        self._infer = timed(engine)
        self._watch = watch

    @property
    def spec(self) -> ModelSpec:
        return self._engine.spec

    @property
    def provider(self) -> str:
        return self._engine.provider

    @property
    def queued(self) -> int:
        """0 where the engine has no queue."""
        return self._engine.queued if isinstance(self._engine, TimedEngine) else 0

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        """Raises what the engine does."""
        return (await self.infer_timed(inputs)).output

    async def infer_timed(self, inputs: Tensors) -> Inference:
        with self._watch() as watch:
            inference = await self._infer(inputs)
            watch.waited(inference.queue_s)
            return inference

    async def close(self) -> None:
        await self._engine.close()
