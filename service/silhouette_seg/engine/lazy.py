"""Engine that loads its model at the first inference."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from silhouette_seg.engine.base import Engine, Tensors
from silhouette_seg.errors import EngineFailed
from silhouette_seg.runtime.load_lock import LOAD_LOCK
from silhouette_seg.spec import ModelSpec

NOT_LOADED = "not loaded"
"""Provider of a model that is not loaded."""


class LazyEngine:
    """Engine that opens another one at its first inference, and then delegates to it.

    The command and the library open each model this way, because most photos need one of them.
    Threads may share it: one of them opens the engine, and the others wait.
    """

    def __init__(self, spec: ModelSpec, open_engine: Callable[[], Engine]) -> None:
        self._spec = spec
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._closed = False

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def provider(self) -> str:
        """Name of the runtime that executes the model; `NOT_LOADED` before the first inference."""
        return NOT_LOADED if self._engine is None else self._engine.provider

    def load(self) -> Engine:
        """Opens the engine unless it is open, and returns it. Blocks while the weights load.

        Raises the errors of opening it, and errors.EngineFailed after `close`.
        """
        if self._engine is None:
            with LOAD_LOCK:
                if self._closed:
                    raise EngineFailed("The inference engine is closed")
                if self._engine is None:
                    self._engine = self._open_engine()
        return self._engine

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        """Returns the model's output tensor. The first call blocks while the weights load.

        Raises the errors of `load` and of the engine. A model that did not load is loaded again by
        the next call.
        """
        return await self.load().infer(inputs)

    async def close(self) -> None:
        """Closes the engine if it is open. Later inferences fail."""
        with LOAD_LOCK:
            self._closed = True
        if self._engine is not None:
            await self._engine.close()
