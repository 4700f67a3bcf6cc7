"""One photo through one model: fit, infer, unfit. Stateless."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from service.engine.base import Engine, Inference, Tensors, TimedEngine
from service.spec import ModelSpec
from service.vision.decode import Frame
from service.vision.geometry import Placement, Size, fit, inside, unfit
from service.vision.matte import MaskQuality, quality
from service.workers import Workers


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock seconds of each stage, the wait for a free thread included."""

    fit_s: float
    queue_s: float
    """Waiting for the engine."""
    infer_s: float
    post_s: float

    def stages(self) -> dict[str, float]:
        """By the names that metrics and `Server-Timing` use, in order."""
        return {
            "fit": self.fit_s,
            "queue": self.queue_s,
            "infer": self.infer_s,
            "post": self.post_s,
        }


@dataclass(frozen=True, slots=True)
class Matte:
    """`alpha` is uint8 [*photo_hw], 255 = person; `quality` is of the mask the model gave."""

    alpha: NDArray[np.uint8]
    quality: MaskQuality
    timings: Timings


class Segmenter:
    """A model with its pixels: photo in, matte of the photo's size out."""

    def __init__(self, engine: Engine, workers: Workers) -> None:
        self._engine = engine
        self._workers = workers

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
    def at_least(self) -> Size:
        """A decoder may halve a photo while both sides stay this long: so does `fit` itself."""
        return self.spec.size_hw

    async def segment(self, frame: Frame) -> Matte:
        """Raises errors.Unavailable when the engine is full or broken."""
        lap = _stopwatch()
        image, placement = await self._workers.run(
            fit, frame.rgb, self.spec.size_hw, self.spec.resize
        )
        fit_s = lap()
        inference = await _infer_timed(self._engine, {"image": image[None]})
        lap()
        alpha, measured = await self._workers.run(
            _finish, inference.alpha[0], placement, frame.photo_hw
        )
        timings = Timings(fit_s, inference.queue_s, inference.infer_s, lap())
        return Matte(alpha, measured, timings)

    async def close(self) -> None:
        await self._engine.close()


async def _infer_timed(engine: Engine, inputs: Tensors) -> Inference:
    if isinstance(engine, TimedEngine):
        return await engine.infer_timed(inputs)
    lap = _stopwatch()
    return Inference(await engine.infer(inputs), queue_s=0.0, infer_s=lap())


def _finish(
    alpha: NDArray[np.uint8], placement: Placement, photo_hw: Size
) -> tuple[NDArray[np.uint8], MaskQuality]:
    return unfit(alpha, placement, photo_hw), quality(alpha[inside(placement)])


def _stopwatch() -> Callable[[], float]:
    """Each call gives the seconds since the one before."""
    last = perf_counter()

    def lap() -> float:
        nonlocal last
        before, last = last, perf_counter()
        return last - before

    return lap
