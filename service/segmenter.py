"""One photo through one model: fit, infer, unfit. Stateless."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.engine.base import Engine, Inference, Tensors, TimedEngine
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
        # Asked once: the check of a protocol reads every attribute.
        self._infer = engine.infer_timed if isinstance(engine, TimedEngine) else self._infer_alone

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
        return await self.run(lambda: frame, lambda _, matte: matte)

    async def run(self, load: Callable[[], Frame], finish: Callable[[Frame, Matte], T]) -> T:
        """What `finish` makes of the photo that `load` gives, and of its matte.

        Both are called in a thread, together with the work that is next to them: a photo
        changes threads three times and not five. Raises what they raise, and errors.Unavailable
        when the engine is full or broken.
        """
        lap = _stopwatch()
        frame, image, placement = await self._workers.run(self._prepare, load)
        fit_s = lap()
        inference = await self._infer({"image": image[None]})
        lap()

        def complete() -> T:
            alpha = unfit(inference.alpha[0], placement, frame.photo_hw)
            measured = quality(inference.alpha[0][inside(placement)])
            timings = Timings(fit_s, inference.queue_s, inference.infer_s, lap())
            return finish(frame, Matte(alpha, measured, timings))

        return await self._workers.run(complete)

    def _prepare(self, load: Callable[[], Frame]) -> tuple[Frame, NDArray[np.uint8], Placement]:
        frame = load()
        return frame, *fit(frame.rgb, self.spec.size_hw, self.spec.resize)

    async def _infer_alone(self, inputs: Tensors) -> Inference:
        lap = _stopwatch()
        return Inference(await self._engine.infer(inputs), queue_s=0.0, infer_s=lap())

    async def close(self) -> None:
        await self._engine.close()


def _stopwatch() -> Callable[[], float]:
    """Each call gives the seconds since the one before."""
    last = perf_counter()

    def lap() -> float:
        nonlocal last
        before, last = last, perf_counter()
        return last - before

    return lap
