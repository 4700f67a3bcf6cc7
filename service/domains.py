"""Who says which domain a photo is segmented in: its dominant face, or somebody else."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.engine.base import Engine, timed
from service.routing import Domain, route
from service.spec import ModelSpec
from service.vision.decode import Frame
from service.vision.geometry import Placement, Size, fit
from service.workers import Workers


@dataclass(frozen=True, slots=True)
class Routed:
    """The domain of a photo, and the share of it that the dominant face covers."""

    domain: Domain
    face_ratio: float | None
    """0 without a face; None when nobody looked for one."""


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

    def __init__(self, engine: Engine, workers: Workers) -> None:
        self._engine = engine
        self._workers = workers
        self._infer = timed(engine)

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
        found = await self._workers.run(route, inference.output[0], placement)
        return Routed(found.domain, found.ratio)

    async def close(self) -> None:
        await self._engine.close()
