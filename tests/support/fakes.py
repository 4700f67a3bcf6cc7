"""Engine with a gate for tests of whole applications: `engine="gated"`."""

from pathlib import Path

from silhouette_seg.engine.fake import FakeEngine
from silhouette_seg.spec import ModelSpec

OPENED: list[FakeEngine] = []
"""Every engine that `open_gated` created, newest last."""


def open_gated(spec: ModelSpec, repository: Path, *, device: str, workers: int) -> FakeEngine:
    """Creates an engine. The test closes its `gate` to hold back results."""
    OPENED.append(FakeEngine(spec))
    return OPENED[-1]
