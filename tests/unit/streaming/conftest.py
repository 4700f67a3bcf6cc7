"""A recording engine and a thread pool for the tests of streams."""

import numpy as np
import pytest
from numpy.typing import NDArray

from silhouette_seg.engine.base import PRIORITY, Priority, Tensors
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.spec import ModelSpec


class RecordingEngine(FakeEngine):
    """Records the inputs and the priority of each call."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.inputs: list[Tensors] = []
        self.priorities: list[Priority] = []

    async def infer(self, inputs: Tensors) -> NDArray[np.uint8]:
        self.inputs.append(inputs)
        self.priorities.append(PRIORITY.get())
        return await super().infer(inputs)


@pytest.fixture
def workers():
    pool = ThreadPool(2)
    yield pool
    pool.close()
