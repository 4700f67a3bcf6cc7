"""Latency percentiles for the figures of load tests and of the comparison."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Figures = dict[str, Any]
"""Figures that JSON can represent."""


def percentile_ms(seconds: Sequence[float], q: float) -> float | None:
    """Returns a percentile in milliseconds, or None without values."""
    return float(1000 * np.percentile(seconds, q)) if seconds else None


def latencies_ms(seconds: Sequence[float]) -> Figures:
    """Returns the percentiles p50, p95 and p99 in milliseconds."""
    return {f"p{q}_ms": percentile_ms(seconds, q) for q in (50, 95, 99)}
