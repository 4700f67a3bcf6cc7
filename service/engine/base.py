"""The seam between pixels and whatever runs the network."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.spec import ModelSpec

Tensors = Mapping[str, NDArray[Any]]
"""Named inputs, batch first."""


class Engine(Protocol):
    """Runs one model. Knows nothing of HTTP, images or queues."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def provider(self) -> str:
        """What really runs the model, for example `CPUExecutionProvider`."""
        ...

    async def infer(self, inputs: Tensors) -> NDArray[np.uint8]:
        """Row i of the result answers row i of the inputs.

        Raises errors.EngineFailed when the runtime fails.
        """
        ...

    async def close(self) -> None: ...
