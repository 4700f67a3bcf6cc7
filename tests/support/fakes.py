"""An engine that the test can stop, for whole applications: `engine="gated"`."""

from pathlib import Path

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.spec import ModelSpec

OPENED: list[FakeEngine] = []
"""Every engine that `open_gated` made, newest last."""


def open_gated(spec: ModelSpec, repository: Path, *, device: str, workers: int) -> FakeEngine:
    OPENED.append(FakeEngine(spec))
    return OPENED[-1]
