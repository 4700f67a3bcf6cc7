"""Plots of a load test and of the comparison between servers."""

from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt  # after the backend is selected
from matplotlib.axes import Axes

from loadtests.measurement.figures import KINDS
from loadtests.measurement.latency import Figures

DPI = 110
KIND_COLOURS = {"photo": "#20639b", "batch": "#3caea3", "stream": "#9b5de5", "health": "#ed553b"}
OUTCOME_COLOURS = {"ok": "#3caea3", "refused": "#f6a821", "late": "#7a3b69", "failed": "#d1202f"}
OUTCOME_LABELS = {
    "ok": "answered",
    "refused": "refused (503)",
    "late": "no answer in 10 s",
    "failed": "failed",
}
OUR_COLOUR = "#20639b"
OTHER_COLOUR = "#9aa5b1"


def plot_run(figures: Figures) -> bytes:
    """Plots latency, rates, stages and memory of a run over time. Returns a PNG."""
    rows = figures["timeline"]
    figure, (latency, rates, stages, memory) = plt.subplots(
        4, 1, figsize=(11, 14), sharex=True, layout="constrained"
    )
    _plot_kinds(latency, rows)
    _plot_rates(rates, rows)
    _plot_stages(stages, rows)
    _plot_memory(memory, rows)
    for axes in (latency, rates, stages, memory):
        axes.grid(alpha=0.3)
        _mark_phases(axes, figures["plan"])
    memory.set_xlabel("seconds")
    file = BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    plt.close(figure)
    return file.getvalue()


def plot_throughput(servers: list[Figures], file: Path) -> None:
    """Plots masks per second by number of clients, and the processor time of a mask."""
    figure, (rates, costs) = plt.subplots(
        1, 2, figsize=(13, 4.6), layout="constrained", width_ratios=(3, 2)
    )
    clients = list(servers[0]["closed"])
    positions = list(range(len(servers)))
    height = 0.8 / len(clients)
    for number, count in enumerate(clients):
        widths = [server["closed"][count]["per_s"] for server in servers]
        places = [place + (number - (len(clients) - 1) / 2) * height for place in positions]
        label = f"{count} client{'s' * (count != '1')}"
        shade = (number + 1) / len(clients)
        bars = rates.barh(places, widths, height, label=label, color=OUR_COLOUR, alpha=shade)
        rates.bar_label(bars, fmt="%.0f", fontsize=7, padding=2)
    rates.set_xlabel("masks of 1280x720 photos per second")
    rates.legend(fontsize="small")
    ms = [server["closed"][clients[len(clients) // 2]]["cpu_ms"] or 0.0 for server in servers]
    colours = [OUR_COLOUR if server["ours"] else OTHER_COLOUR for server in servers]
    costs.bar_label(costs.barh(positions, ms, color=colours), fmt="%.1f", padding=3)
    costs.set_xlabel("ms of processor time per mask")
    for axes in (rates, costs):
        axes.invert_yaxis()
        axes.grid(alpha=0.3, axis="x")
        axes.margins(x=0.12)
    rates.set_yticks(positions, [server["title"] for server in servers])
    costs.set_yticks(positions, [])
    figure.savefig(file, dpi=DPI)
    plt.close(figure)


def plot_overload(servers: list[Figures], file: Path) -> None:
    """Plots latency and outcomes of each server over the seconds of its overload."""
    figure, grid = plt.subplots(
        *(2, len(servers)),
        figsize=(2.4 * len(servers) + 1, 5.6),
        sharex=True,
        sharey="row",
        layout="constrained",
        squeeze=False,
    )
    for server, latency, outcomes in zip(servers, *grid, strict=True):
        rows = server["overload"]["timeline"]
        latency.set_title(fill(server["title"], 22), fontsize=9)
        for percentile, style in (("p50", ":"), ("p95", "-")):
            _plot_line(latency, rows, f"{percentile}_ms", OUR_COLOUR, label=percentile, style=style)
        latency.set_yscale("log")
        latency.grid(alpha=0.3)
        _plot_outcomes(outcomes, rows)
        outcomes.set_xlabel("second of the overload")
    grid[0][0].set_ylabel("ms of answered requests")
    grid[0][0].legend(fontsize="small")
    grid[1][0].set_ylabel("share of requests")
    figure.legend(*grid[1][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(file, dpi=DPI)
    plt.close(figure)


def _column(rows: list[Figures], name: str) -> list[Any]:
    """Returns one value per row, and NaN, which is not drawn, for a missing value."""
    return [float("nan") if row.get(name) is None else row[name] for row in rows]


def _plot_line(
    axes: Axes, rows: list[Figures], name: str, colour: str, *, label: str, style: str
) -> None:
    """Plots a column as a line with markers, which show a value between two missing ones."""
    times, values = _column(rows, "at_s"), _column(rows, name)
    axes.plot(times, values, style, color=colour, marker=".", markersize=3, label=label)


def _plot_kinds(axes: Axes, rows: list[Figures]) -> None:
    for kind in KINDS:
        if any(row[f"{kind}_p95_ms"] is not None for row in rows):
            for percentile, style in (("p95", "-"), ("p50", ":")):
                name, label = f"{kind}_{percentile}_ms", f"{kind} {percentile}"
                _plot_line(axes, rows, name, KIND_COLOURS[kind], label=label, style=style)
    axes.set_yscale("log")
    axes.set_ylabel("ms from the due time")
    axes.legend(ncols=4, fontsize="small")


def _plot_rates(axes: Axes, rows: list[Figures]) -> None:
    times = _column(rows, "at_s")
    axes.plot(times, _column(rows, "offered_per_s"), color="black", linestyle=":", label="offered")
    for outcome in ("ok", "refused", "failed"):
        rates = _column(rows, f"{outcome}_per_s")
        axes.plot(times, rates, color=OUTCOME_COLOURS[outcome], label=outcome)
    axes.set_ylabel("photos and batches per second")
    axes.legend(ncols=4, fontsize="small")


def _plot_stages(axes: Axes, rows: list[Figures]) -> None:
    timed = [row for row in rows if row["stages_ms"]]
    names = list(dict.fromkeys(name for row in timed for name in row["stages_ms"]))
    if names:
        heights = [[row["stages_ms"].get(name, 0.0) for row in timed] for name in names]
        axes.stackplot(_column(timed, "at_s"), heights, labels=names, alpha=0.8)
        axes.legend(ncols=len(names), fontsize="small")
    axes.set_ylabel("mean ms of a photo by stage")


def _plot_memory(axes: Axes, rows: list[Figures]) -> None:
    measured = [row for row in rows if row["rss_mb"] is not None]
    axes.plot(_column(measured, "at_s"), _column(measured, "rss_mb"), color="black")
    if not measured:
        axes.text(0.5, 0.5, "not reported", ha="center", transform=axes.transAxes)
    axes.set_ylabel("resident MB of the server")


def _mark_phases(axes: Axes, plan: list[Figures]) -> None:
    start_s = 0.0
    for phase in plan[:-1]:
        start_s += phase["seconds"]
        axes.axvline(start_s, color="black", alpha=0.4, linewidth=0.8)


def _plot_outcomes(axes: Axes, rows: list[Figures]) -> None:
    times = _column(rows, "at_s")
    totals = [max(1, sum(row[outcome] for outcome in OUTCOME_COLOURS)) for row in rows]
    bottom = [0.0] * len(rows)
    for outcome, colour in OUTCOME_COLOURS.items():
        shares = [row[outcome] / total for row, total in zip(rows, totals, strict=True)]
        axes.bar(times, shares, 1.0, bottom=bottom, color=colour, label=OUTCOME_LABELS[outcome])
        bottom = [below + share for below, share in zip(bottom, shares, strict=True)]
