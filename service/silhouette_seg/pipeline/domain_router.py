"""Chooses the distance domain of a photo, from its dominant face or a fixed value."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import Engine
from silhouette_seg.pipeline.faces import DomainDecision, decide_domain
from silhouette_seg.pipeline.served_model import ServedModel
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import Placement, Size, fit

PendingDecision = Callable[[], Awaitable[DomainDecision | None]]
"""Completes the decision after the pixels were prepared; None if the model takes no domain."""


class DomainRouter(Protocol):
    """Decides the domain of a photo in two steps: `prepare`, then the pending decision."""

    @property
    def min_size(self) -> Size:
        """Smallest (height, width) in pixels at which the photo is decoded for this router."""
        ...

    def prepare(self, frame: Frame) -> PendingDecision:
        """Prepares the pixels that the decision needs. Slow: call it in a worker thread."""
        ...


class FixedDomain:
    """Returns the same decision for every photo."""

    min_size: Size = (1, 1)

    def __init__(self, decision: DomainDecision | None) -> None:
        self._decision = decision

    def prepare(self, frame: Frame) -> PendingDecision:
        """Reads no pixel of the photo."""
        return self._decide

    async def _decide(self) -> DomainDecision | None:
        return self._decision


class FaceRouter(ServedModel):
    """Decides the domain by the largest face that the face detector finds."""

    def __init__(self, engine: Engine, workers: ThreadPool) -> None:
        super().__init__(engine)
        self._workers = workers

    @property
    def min_size(self) -> Size:
        """Input size of the detector."""
        return self.spec.size_hw

    def prepare(self, frame: Frame) -> PendingDecision:
        """Fits the photo to the detector's input. Slow: call it in a worker thread."""
        return partial(self._decide, *fit(frame.rgb, self.spec.size_hw, self.spec.resize))

    async def _decide(self, image: NDArray[np.uint8], placement: Placement) -> DomainDecision:
        """Raises errors.Unavailable when the engine is full or broken."""
        inference = await self._infer({"image": image[None]})
        # Not on the event loop: a photo of a crowd has many faces.
        return await self._workers.run_in_thread(decide_domain, inference.output[0], placement)
