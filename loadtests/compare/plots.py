"""Pictures of the comparison."""

from pathlib import Path
from textwrap import fill

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt  # after the choice of what draws
from matplotlib.axes import Axes

from loadtests.compare.summary import Figures

DPI = 110
OURS = "#20639b"
OTHERS = "#9aa5b1"
OUTCOMES = {"ok": "#3caea3", "refused": "#f6a821", "late": "#7a3b69", "failed": "#d1202f"}
LABELS = {
    "ok": "answered",
    "refused": "refused (503)",
    "late": "no answer in 10 s",
    "failed": "failed",
}


def plot_requests(subjects: list[Figures], file: Path) -> None:
    """Answers a second by clients, and what one costs."""
    figure, (rates, costs) = plt.subplots(
        1, 2, figsize=(13, 4.6), layout="constrained", width_ratios=(3, 2)
    )
    clients = list(subjects[0]["closed"])
    height = 0.8 / len(clients)
    for number, count in enumerate(clients):
        heights = [subject["closed"][count]["per_s"] for subject in subjects]
        places = [place + (number - (len(clients) - 1) / 2) * height for place in _places(subjects)]
        label = f"{count} client{'s' * (count != '1')}"
        shade = (number + 1) / len(clients)
        bars = rates.barh(places, heights, height, label=label, color=OURS, alpha=shade)
        rates.bar_label(bars, fmt="%.0f", fontsize=7, padding=2)
    rates.set_xlabel("masks of 1280x720 photos a second")
    rates.legend(fontsize="small")
    ms = [subject["closed"][clients[len(clients) // 2]]["cpu_ms"] or 0.0 for subject in subjects]
    colours = [OURS if subject["ours"] else OTHERS for subject in subjects]
    costs.bar_label(costs.barh(_places(subjects), ms, color=colours), fmt="%.1f", padding=3)
    costs.set_xlabel("ms of processor time for one")
    for axes in (rates, costs):
        axes.invert_yaxis()
        axes.grid(alpha=0.3, axis="x")
        axes.margins(x=0.12)
    rates.set_yticks(_places(subjects), [subject["title"] for subject in subjects])
    costs.set_yticks(_places(subjects), [])
    figure.savefig(file, dpi=DPI)
    plt.close(figure)


def plot_overload(subjects: list[Figures], file: Path) -> None:
    """What was accepted took how long, and what became of all, second by second."""
    figure, grid = plt.subplots(
        *(2, len(subjects)),
        figsize=(2.4 * len(subjects) + 1, 5.6),
        sharex=True,
        sharey="row",
        layout="constrained",
        squeeze=False,
    )
    for subject, latency, outcomes in zip(subjects, *grid, strict=True):
        latency.set_title(fill(subject["title"], 22), fontsize=9)
        _latency(latency, subject["overload"]["timeline"])
        _outcomes(outcomes, subject["overload"]["timeline"])
        outcomes.set_xlabel("second of the overload")
    grid[0][0].set_ylabel("ms of what was answered")
    grid[0][0].legend(fontsize="small")
    grid[1][0].set_ylabel("share of what arrived")
    figure.legend(*grid[1][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(file, dpi=DPI)
    plt.close(figure)


def _places(subjects: list[Figures]) -> list[int]:
    return list(range(len(subjects)))


def _latency(axes: Axes, rows: list[Figures]) -> None:
    at = [row["at_s"] for row in rows]
    for name, style in (("p50_ms", ":"), ("p95_ms", "-")):
        values = [float("nan") if row[name] is None else row[name] for row in rows]
        # Points as well: a second alone between two without an answer is no line.
        axes.plot(at, values, style, color=OURS, marker=".", markersize=3, label=name[:3])
    axes.set_yscale("log")
    axes.grid(alpha=0.3)


def _outcomes(axes: Axes, rows: list[Figures]) -> None:
    at = [row["at_s"] for row in rows]
    whole = [max(1, sum(row[outcome] for outcome in OUTCOMES)) for row in rows]
    floor = [0.0] * len(rows)
    for outcome, colour in OUTCOMES.items():
        shares = [row[outcome] / all_of_it for row, all_of_it in zip(rows, whole, strict=True)]
        axes.bar(at, shares, 1.0, bottom=floor, color=colour, label=LABELS[outcome])
        floor = [below + share for below, share in zip(floor, shares, strict=True)]
