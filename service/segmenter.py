"""One photo through one model: fit, route, infer, unfit. Stateless."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.domains import FaceRouter, Pending, Routed, Router, Told
from service.engine.base import Engine, Inference, Tensors, timed
from service.routing import Domain
from service.spec import ModelSpec
from service.vision.decode import Frame
from service.vision.geometry import Placement, Size, fit, inside, unfit
from service.vision.matte import MaskQuality, quality
from service.workers import Workers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock seconds of each stage, the wait for a free thread included."""

    fit_s: float
    """Loading included."""
    route_s: float
    """Finding the domain, where the model takes one."""
    queue_s: float
    """Waiting for the engine."""
    infer_s: float
    post_s: float

    def stages(self) -> dict[str, float]:
        """By the names that metrics and `Server-Timing` use, in order."""
        return {
            "fit": self.fit_s,
            "route": self.route_s,
            "queue": self.queue_s,
            "infer": self.infer_s,
            "post": self.post_s,
        }


@dataclass(frozen=True, slots=True)
class Matte:
    """`alpha` is uint8 [*photo_hw], 255 = person; `quality` is of the mask the model gave;
    `routed` is None where the model takes no domain.
    """

    alpha: NDArray[np.uint8]
    quality: MaskQuality
    routed: Routed | None
    timings: Timings


class Memory(Protocol):
    """What a stream knows of the frames before this one. Both are called in a worker, in turn."""

    def recall(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        """The mask before this one, uint8 [h,w] for an image [h,w,3]; zeros for none."""
        ...

    def keep(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What to show for the mask uint8 [h,w] that the model gave for that image."""
        ...


class NoMemory:
    """A photo has no frame before it."""

    def recall(self, image: NDArray[np.uint8], photo_hw: Size) -> NDArray[np.uint8]:
        return np.zeros(image.shape[:2], np.uint8)

    def keep(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return alpha


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A photo fitted to the model; `route` finds its domain."""

    frame: Frame
    image: NDArray[np.uint8]
    placement: Placement
    prior: NDArray[np.uint8]
    route: Pending


class Segmenter:
    """A model with its pixels: photo in, matte of the photo's size out.

    Where the model takes a domain `faces` finds that of each photo; without `faces` every photo
    is one without a face.
    """

    def __init__(self, engine: Engine, workers: Workers, faces: FaceRouter | None = None) -> None:
        self._engine = engine
        self._workers = workers
        self._infer = timed(engine)
        self.faces = faces if self.takes_domain else None
        nobody_looks = Routed(Domain.NO_FACE, None, looked=False) if self.takes_domain else None
        self._router: Router = self.faces or Told(nobody_looks)

    @property
    def spec(self) -> ModelSpec:
        return self._engine.spec

    @property
    def provider(self) -> str:
        return self._engine.provider

    @property
    def digest(self) -> str:
        """sha256 of the weights, in hexadecimal."""
        return self.spec.sha256

    @property
    def takes_domain(self) -> bool:
        return self.spec.takes("domain")

    def on(self, workers: Workers) -> Self:
        """The same model with other threads for its pixels."""
        return type(self)(self._engine, workers, self.faces)

    async def segment(self, frame: Frame, *, domain: Domain | None = None) -> Matte:
        """Raises errors.Unavailable when an engine is full or broken."""
        return await self.run(lambda _: frame, lambda _, matte: matte, domain=domain)

    async def run(
        self,
        load: Callable[[Size], Frame],
        finish: Callable[[Frame, Matte], T],
        *,
        domain: Domain | None = None,
        memory: Memory | None = None,
    ) -> T:
        """What `finish` makes of the photo that `load` gives, and of its matte.

        `load` is told the sides that are enough: a decoder may halve a photo while both stay as
        long, and so does `fit` itself. Both are called in a thread, together with the work that
        is next to them, because every change of threads costs a wait. A `domain` is used as it
        is and nobody looks for a face; raises ValueError where the model takes none. With a
        `memory` the photo is the next frame of its stream, which has no other in work. Raises
        what they raise, and errors.Unavailable when an engine is full or broken.
        """
        router = self._router if domain is None else self._told(domain)
        remembered = memory or NoMemory()
        lap = _stopwatch()
        prepared = await self._workers.run(self._prepare, load, router, remembered)
        fit_s = lap()
        routed = await prepared.route()
        route_s = lap()
        inference = await self._infer(self._inputs(prepared, routed))
        lap()

        def complete() -> T:
            alpha, placement = remembered.keep(inference.output[0]), prepared.placement
            measured = quality(alpha[inside(placement)])
            whole = unfit(alpha, placement, prepared.frame.photo_hw)
            timings = Timings(fit_s, route_s, inference.queue_s, inference.infer_s, lap())
            return finish(prepared.frame, Matte(whole, measured, routed, timings))

        return await self._workers.run(complete)

    def _told(self, domain: Domain) -> Router:
        if not self.takes_domain:
            raise ValueError(f"{self.spec.name} takes no domain")
        return Told(Routed(domain, None, looked=False))

    def _prepare(self, load: Callable[[Size], Frame], router: Router, memory: Memory) -> _Prepared:
        (height, width), (also_height, also_width) = self.spec.size_hw, router.at_least
        frame = load((max(height, also_height), max(width, also_width)))
        image, placement = fit(frame.rgb, self.spec.size_hw, self.spec.resize)
        prior = memory.recall(image, frame.photo_hw)
        return _Prepared(frame, image, placement, prior, router.look(frame))

    def _inputs(self, prepared: _Prepared, routed: Routed | None) -> Tensors:
        """One row of each input of the model."""
        inputs: dict[str, NDArray[Any]] = {"image": prepared.image[None]}
        if self.spec.takes("prior"):
            inputs["prior"] = prepared.prior[None]
        if routed is not None:
            inputs["domain"] = np.array([routed.domain], np.int64)
        return inputs

    async def infer(self, inputs: Tensors) -> Inference:
        """For who brings the model's own inputs, and no photo; raises what its engine does."""
        return await self._infer(inputs)

    async def close(self) -> None:
        """Closes its engine; `faces` may be others' too."""
        await self._engine.close()


def _stopwatch() -> Callable[[], float]:
    """Each call gives the seconds since the one before."""
    last = perf_counter()

    def lap() -> float:
        nonlocal last
        before, last = last, perf_counter()
        return last - before

    return lap
