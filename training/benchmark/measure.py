"""Measures the cost of a call, and prints and stores figures."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, thread_time
from typing import Any

import cv2
from rich.console import Console
from rich.table import Table

from silhouette_seg.runtime.cpu_quota import available_cpus

CPU_INFO = Path("/proc/cpuinfo")

Figures = dict[str, Any]
"""One row of results by column, ready for JSON."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of one call: wall clock, and processor time of the calling thread."""

    p50_ms: float
    p95_ms: float
    cpu_ms: float
    """Median processor time of the calling thread, in milliseconds."""
    calls: int


def measure_cost(call: Callable[[], object], *, calls: int, budget_s: float) -> Cost:
    """Calls once to warm up, then up to `calls` times within the budget, at least three."""
    call()
    walls: list[float] = []
    cpus: list[float] = []
    deadline = perf_counter() + budget_s
    while len(walls) < calls and (perf_counter() < deadline or len(walls) < 3):
        cpu, wall = thread_time(), perf_counter()
        call()
        walls.append(perf_counter() - wall)
        cpus.append(thread_time() - cpu)
    return Cost(1000 * median(walls), 1000 * p95(walls), 1000 * median(cpus), len(walls))


def p95(values: Sequence[float]) -> float:
    """Returns the 95th percentile, interpolated; raises IndexError without a value."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def describe_machine() -> Figures:
    """Returns the processor, load and versions of the measuring machine."""
    names = [
        line.partition(":")[2].strip()
        for line in (CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else ())
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "usable_cpus": available_cpus(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "opencv": cv2.__version__,
    }


def print_table(title: str, rows: Sequence[Figures], console: Console) -> None:
    """Prints a table with a column for each key of any row, in order."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(title=title, title_justify="left")
    for name in columns:
        values = [row[name] for row in rows if row.get(name) is not None]
        is_numeric = bool(values) and all(isinstance(value, (int, float)) for value in values)
        table.add_column(
            name.replace("_", " "), justify="right" if is_numeric else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(_text(row.get(name)) for name in columns))
    console.print(table)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


def cost_row(cost: Cost, **labels: object) -> Figures:
    """Returns the cost as a row of results, after the given labels."""
    return labels | asdict(cost)


def write_json(figures: Figures, file: Path | None) -> None:
    """Writes the results as JSON if a file is given."""
    if file is not None:
        file.write_text(json.dumps(figures, indent=2) + "\n")
