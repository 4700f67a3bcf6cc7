"""Engine for tests: its output encodes its input, and the test decides when it completes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import Tensors, check_inputs
from silhouette_seg.errors import EngineFailed
from silhouette_seg.spec import ModelSpec, ModelTask


def open_engine(spec: ModelSpec, repository: Path, *, device: str, workers: int) -> "FakeEngine":
    return FakeEngine(spec)


class FakeEngine:
    """Engine for tests that computes a known function of its inputs, without threads.

    It waits until `gate` is set. The output `alpha` is the red channel of `image`, xor `prior`, xor
    `domain`. The output `faces` is one face, as high as the image. Its width relative to the image
    is green / 255 of the centre pixel.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._failures: list[Exception] = []
        self.persistent_error: Exception | None = None
        """Error that every batch raises, until it is reset to None."""
        self.transform_output: Callable[[NDArray[Any]], NDArray[Any]] = lambda output: output
        """Function from each output array to the array that is returned."""
        self._changed = asyncio.Condition()
        self._closed = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.batch_sizes: list[int] = []
        """Number of rows of each batch that reached the engine, in order of arrival."""
        self.running = 0
        """Number of batches inside `infer`."""

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def provider(self) -> str:
        return "FakeExecutionProvider"

    def fail_next(self, error: Exception) -> None:
        """Makes the next batch raise `error`. Several calls queue their errors."""
        self._failures.append(error)

    async def wait_for_batches(self, batches: int) -> None:
        """Returns once `batches` batches have reached the engine since its construction."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.batch_sizes) >= batches)

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        rows = check_inputs(self._spec, inputs)
        if self._closed:
            raise EngineFailed("The fake engine is closed")
        failure = self._failures.pop(0) if self._failures else self.persistent_error
        self.running += 1
        try:
            async with self._changed:
                self.batch_sizes.append(rows)
                self._changed.notify_all()
            await self.gate.wait()
            if failure:
                raise failure
            faces = self._spec.task is ModelTask.FACES
            return self.transform_output(_faces(inputs) if faces else _alpha(inputs))
        finally:
            self.running -= 1

    async def close(self) -> None:
        self._closed = True


def _alpha(inputs: Tensors) -> NDArray[np.uint8]:
    alpha = inputs["image"][..., 0].copy()
    if "prior" in inputs:
        alpha ^= inputs["prior"]
    if "domain" in inputs:
        alpha ^= inputs["domain"].astype(np.uint8)[:, None, None]
    return alpha


def _faces(inputs: Tensors) -> NDArray[np.float32]:
    image = inputs["image"]
    faces = np.tile(np.array([1, 0, 0, 1, 0], np.float32), (len(image), 1, 1))
    faces[:, 0, 4] = image[:, image.shape[1] // 2, image.shape[2] // 2, 1] / np.float32(255)
    return faces
