"""An engine that the test can stop, for whole applications: `engine="gated"`."""

from pathlib import Path

from service.engine.fake import FakeEngine
from service.spec import ModelSpec

OPENED: list[FakeEngine] = []
"""Every engine that `open_gated` made, newest last."""


def open_gated(spec: ModelSpec, repository: Path, *, device: str, workers: int) -> FakeEngine:
    OPENED.append(FakeEngine(spec))
    return OPENED[-1]
