"""Who says which domain a photo is segmented in: its dominant face, or somebody else."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import Engine, Inference, Tensors, with_timings
from silhouette_seg.pipeline.faces import DomainDecision, decide_domain
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import ModelSpec
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import Placement, Size, fit

PendingDecision = Callable[[], Awaitable[DomainDecision | None]]
"""What is left to do when the pixels were seen."""


class DomainRouter(Protocol):
    """Finds the domain of a photo, in two steps."""

    @property
    def min_size(self) -> Size:
        """Pixels that it wants to see."""
        ...

    def prepare(self, frame: Frame) -> PendingDecision:
        """Takes from the photo what it needs. Slow: call it in a worker."""
        ...


class FixedDomain:
    """Every photo has the same answer, which no pixel changes."""

    min_size: Size = (1, 1)

    def __init__(self, answer: DomainDecision | None) -> None:
        self._answer = answer

    def prepare(self, frame: Frame) -> PendingDecision:
        return self._decide

    async def _decide(self) -> DomainDecision | None:
        return self._answer


class FaceRouter:
    """The face detector with its pixels."""

    def __init__(self, engine: Engine, workers: ThreadPool) -> None:
        self._engine = engine
        self._workers = workers
        self._infer = with_timings(engine)

    @property
    def spec(self) -> ModelSpec:
        return self._engine.spec

    @property
    def provider(self) -> str:
        return self._engine.provider

    @property
    def min_size(self) -> Size:
        return self.spec.size_hw

    def prepare(self, frame: Frame) -> PendingDecision:
        return partial(self._decide, *fit(frame.rgb, self.spec.size_hw, self.spec.resize))

    async def _decide(self, image: NDArray[np.uint8], placement: Placement) -> DomainDecision:
        """Raises errors.Unavailable when the engine is full or broken."""
        inference = await self._infer({"image": image[None]})
        # Not on the loop: a photo of a crowd has many faces.
        return await self._workers.run_in_thread(decide_domain, inference.output[0], placement)

    async def infer(self, inputs: Tensors) -> Inference:
        """For who brings the model's own inputs, and no photo; raises what its engine does."""
        return await self._infer(inputs)

    async def close(self) -> None:
        await self._engine.close()
