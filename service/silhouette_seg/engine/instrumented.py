"""An engine that somebody watches: each inference, how long it waited, and how it failed."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from silhouette_seg.engine.base import Around, Engine, Inference, Tensors


class Watch(Protocol):
    """Over one inference."""

    def waited(self, queue_s: float) -> None: ...


class Watched(Around):
    """`watch` is entered for each inference, and left with what that raises."""

    def __init__(self, engine: Engine, watch: Callable[[], AbstractContextManager[Watch]]) -> None:
        super().__init__(engine)
        self._watch = watch

    async def infer_timed(self, inputs: Tensors) -> Inference:
        with self._watch() as watch:
            inference = await super().infer_timed(inputs)
            watch.waited(inference.queue_s)
            return inference
