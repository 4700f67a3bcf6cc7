"""Who says which domain a photo is segmented in: its dominant face, or somebody else."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import Engine, Inference, Tensors, with_timings
from silhouette_seg.pipeline.faces import Domain, Face, route
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import ModelSpec
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import Placement, Size, fit


@dataclass(frozen=True, slots=True)
class Routed:
    """The domain of a photo, and the dominant face in it."""

    domain: Domain
    face: Face | None
    looked: bool
    """Whether anybody looked for a face."""

    @property
    def face_ratio(self) -> float | None:
        """Share of the photo that the face covers: 0 without one, None when nobody looked."""
        if not self.looked:
            return None
        return self.face.ratio if self.face else 0.0


Pending = Callable[[], Awaitable[Routed | None]]
"""What is left to do when the pixels were seen."""


class Router(Protocol):
    """Finds the domain of a photo, in two steps."""

    @property
    def at_least(self) -> Size:
        """Pixels that it wants to see."""
        ...

    def look(self, frame: Frame) -> Pending:
        """Takes from the photo what it needs. Slow: call it in a worker."""
        ...


class Told:
    """Every photo has the same answer, which no pixel changes."""

    at_least: Size = (1, 1)

    def __init__(self, answer: Routed | None) -> None:
        self._answer = answer

    def look(self, frame: Frame) -> Pending:
        return self._give

    async def _give(self) -> Routed | None:
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
    def at_least(self) -> Size:
        return self.spec.size_hw

    def look(self, frame: Frame) -> Pending:
        return partial(self._decide, *fit(frame.rgb, self.spec.size_hw, self.spec.resize))

    async def _decide(self, image: NDArray[np.uint8], placement: Placement) -> Routed:
        """Raises errors.Unavailable when the engine is full or broken."""
        inference = await self._infer({"image": image[None]})
        # Not on the loop: a photo of a crowd has many faces.
        found = await self._workers.run_in_thread(route, inference.output[0], placement)
        return Routed(found.domain, found.face, looked=True)

    async def infer(self, inputs: Tensors) -> Inference:
        """For who brings the model's own inputs, and no photo; raises what its engine does."""
        return await self._infer(inputs)

    async def close(self) -> None:
        await self._engine.close()
