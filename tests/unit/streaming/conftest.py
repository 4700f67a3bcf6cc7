"""Engines that write down what they were given."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.base import PRIORITY, Priority, Tensors
from service.engine.fake import FakeEngine
from service.spec import ModelSpec
from service.workers import Workers


class NotingEngine(FakeEngine):
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
    pool = Workers(2)
    yield pool
    pool.close()
