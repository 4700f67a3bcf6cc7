"""Chooses the distance domain of a photo from its largest face, or returns a fixed one.

The domain tells how near the person is, and some models take it as an input.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import Engine
from silhouette_seg.pipeline.faces import Domain, DomainDecision, decide_domain
from silhouette_seg.pipeline.model_input import fit_photo
from silhouette_seg.pipeline.served_model import ServedModel
from silhouette_seg.runtime.thread_pool import Workers
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.geometry import Placement, Size

PendingDecision = Callable[[], Awaitable[DomainDecision | None]]
"""Async function without arguments that completes the choice of a photo's domain.

`DomainRouter.prepare` returns it. Its result is None if neither domain nor face is needed.
"""


class DomainRouter(Protocol):
    """Chooses the distance domain of a photo in two steps.

    `prepare` is the first, and the function that it returns the second.
    """

    @property
    def min_size(self) -> Size:
        """Smallest (height, width), in pixels, of a decoded photo that suffices for the choice."""
        ...

    def prepare(self, frame: Frame) -> PendingDecision:
        """Prepares a decoded photo and returns the async function that completes the decision.

        Slow: call `prepare` in a worker thread, and the returned function in the event loop.
        """
        ...


class FixedDomain:
    """Domain router that returns the same decision for every photo."""

    min_size: Size = (1, 1)

    def __init__(self, decision: DomainDecision | None) -> None:
        self._decision = decision

    def prepare(self, frame: Frame) -> PendingDecision:
        """Returns the async function that returns the fixed decision.

        Reads no pixel of the photo.
        """
        return self._decide

    async def _decide(self) -> DomainDecision | None:
        return self._decision


class FacesOfDomain:
    """Domain router that finds the faces of a photo and returns them with a given domain."""

    def __init__(self, faces: "FaceRouter", domain: Domain) -> None:
        self._faces = faces
        self._domain = domain

    @property
    def min_size(self) -> Size:
        """(height, width) of the face detector's input, in pixels."""
        return self._faces.min_size

    def prepare(self, frame: Frame) -> PendingDecision:
        """Resizes a photo to the face detector's input and returns the async function that runs it.

        Slow: call it in a worker thread.
        """
        return partial(self._decide, self._faces.prepare(frame))

    async def _decide(self, find_faces: PendingDecision) -> DomainDecision | None:
        decision = await find_faces()
        return decision and replace(decision, domain=self._domain)


class FaceRouter(ServedModel):
    """Domain router that decides by the largest face that the face detector finds in a photo."""

    def __init__(self, engine: Engine, workers: Workers) -> None:
        super().__init__(engine)
        self._workers = workers

    @property
    def min_size(self) -> Size:
        """(height, width) of the face detector's input, in pixels.

        A smaller photo would lose detail.
        """
        return self.spec.size_hw

    def prepare(self, frame: Frame) -> PendingDecision:
        """Resizes a photo to the face detector's input and returns the async function that runs it.

        Slow: call it in a worker thread.
        """
        return partial(self._decide, *fit_photo(frame, self.spec.size_hw, self.spec.resize))

    async def _decide(self, image: NDArray[np.uint8], placement: Placement) -> DomainDecision:
        """Runs the face detector on its input, uint8 [h,w,3], and returns the decision.

        `placement` is the photo's rectangle in that input. Raises errors.Unavailable when the
        engine is full or broken.
        """
        inference = await self._infer({"image": image[None]})
        # Not on the event loop: a photo of a crowd has many faces.
        return await self._workers.run_in_thread(decide_domain, inference.output[0], placement)
