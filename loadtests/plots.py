"""Latency, throughput, refusals, stages and memory over time, as one picture."""

from io import BytesIO
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt  # after the choice of what draws
from matplotlib.axes import Axes

from loadtests.figures import KINDS, Figures

COLOURS = {"photo": "#20639b", "batch": "#3caea3", "stream": "#9b5de5", "health": "#ed553b"}
OUTCOMES = {"ok": "#3caea3", "refused": "#f6a821", "failed": "#d1202f"}


def draw(figures: Figures) -> bytes:
    """A PNG."""
    rows = figures["timeline"]
    figure, (latency, rates, stages, memory) = plt.subplots(
        4, 1, figsize=(11, 14), sharex=True, layout="constrained"
    )
    _latency(latency, rows)
    _rates(rates, rows)
    _stages(stages, rows)
    _memory(memory, rows)
    for axes in (latency, rates, stages, memory):
        axes.grid(alpha=0.3)
        _phases(axes, figures["plan"])
    memory.set_xlabel("seconds")
    file = BytesIO()
    figure.savefig(file, format="png", dpi=110)
    plt.close(figure)
    return file.getvalue()


def _column(rows: list[Figures], name: str) -> list[Any]:
    """What is not there is left open."""
    return [float("nan") if row.get(name) is None else row[name] for row in rows]


def _latency(axes: Axes, rows: list[Figures]) -> None:
    at = _column(rows, "at_s")
    for kind in KINDS:
        if any(row[f"{kind}_p95_ms"] is not None for row in rows):
            whole = _column(rows, f"{kind}_p95_ms")
            # Points as well: a second alone between two without an answer is no line.
            axes.plot(at, whole, color=COLOURS[kind], marker=".", markersize=3, label=f"{kind} p95")
            half = _column(rows, f"{kind}_p50_ms")
            axes.plot(at, half, color=COLOURS[kind], alpha=0.5, linestyle=":", label=f"{kind} p50")
    axes.set_yscale("log")
    axes.set_ylabel("ms from the moment due")
    axes.legend(ncols=4, fontsize="small")


def _rates(axes: Axes, rows: list[Figures]) -> None:
    at = _column(rows, "at_s")
    axes.plot(at, _column(rows, "offered_per_s"), color="black", linestyle=":", label="offered")
    for outcome, colour in OUTCOMES.items():
        axes.plot(at, _column(rows, f"{outcome}_per_s"), color=colour, label=outcome)
    axes.set_ylabel("photos and batches a second")
    axes.legend(ncols=4, fontsize="small")


def _stages(axes: Axes, rows: list[Figures]) -> None:
    timed = [row for row in rows if row["stages_ms"]]
    names = list(dict.fromkeys(name for row in timed for name in row["stages_ms"]))
    if names:
        heights = [[row["stages_ms"].get(name, 0.0) for row in timed] for name in names]
        axes.stackplot(_column(timed, "at_s"), heights, labels=names, alpha=0.8)
        axes.legend(ncols=len(names), fontsize="small")
    axes.set_ylabel("ms of a photo by stage, mean")


def _memory(axes: Axes, rows: list[Figures]) -> None:
    told = [row for row in rows if row["rss_mb"] is not None]
    axes.plot(_column(told, "at_s"), _column(told, "rss_mb"), color="black")
    if not told:
        axes.text(0.5, 0.5, "the server does not tell", ha="center", transform=axes.transAxes)
    axes.set_ylabel("MB resident in the server")


def _phases(axes: Axes, plan: list[Figures]) -> None:
    began = 0.0
    for stage in plan[:-1]:
        began += stage["seconds"]
        axes.axvline(began, color="black", alpha=0.4, linewidth=0.8)
