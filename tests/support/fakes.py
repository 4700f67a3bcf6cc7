"""Fake engines: with a gate, `engine="gated"`; slow, `engine="slow"`; and with records of calls."""

import asyncio
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import PRIORITY, Priority, Tensors
from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.spec import ModelSpec

SLOW_S = 0.3
"""Time of a batch in `SlowEngine`, in seconds."""
OPENED: list[FakeEngine] = []
"""Every engine that `open_gated` created, newest last."""


def open_gated(spec: ModelSpec, repository: Path, *, device: str, workers: int) -> FakeEngine:
    """Creates an engine. The test closes its `gate` to hold back results."""
    OPENED.append(FakeEngine(spec))
    return OPENED[-1]


def open_stuck(spec: ModelSpec, repository: Path, *, device: str, workers: int) -> FakeEngine:
    """Creates an engine with a closed `gate`, so that its warm-up does not end."""
    engine = open_gated(spec, repository, device=device, workers=workers)
    engine.gate.clear()
    return engine


class SlowEngine(FakeEngine):
    """Takes SLOW_S seconds for each batch."""

    async def infer(self, inputs: Tensors) -> NDArray[np.uint8]:
        await asyncio.sleep(SLOW_S)
        return await super().infer(inputs)


def open_slow(spec: ModelSpec, repository: Path, *, device: str, workers: int) -> FakeEngine:
    return SlowEngine(spec)


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
