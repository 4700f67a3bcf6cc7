"""Plots the history of a training run."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot as plt  # the backend comes first

NO_LOSSES = {"epoch", "seconds", "size", "rate"}
VALIDATED = "val/"


def plot_curve(history: Path, picture: Path) -> None:
    """Draws losses and validation metrics over epochs, as PNG."""
    rows = [json.loads(line) for line in history.read_text().splitlines()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name in sorted({name for row in rows for name in row} - NO_LOSSES):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        axes = right if name.startswith(VALIDATED) else left
        axes.plot(*zip(*points, strict=True), label=name.removeprefix(VALIDATED))
    left.set(xlabel="epoch", ylabel="loss", yscale="log")
    right.set(xlabel="epoch", ylabel="validation")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:  # nothing is measured before the first evaluation
            axes.legend(fontsize=8)
    figure.savefig(picture, dpi=110)
    plt.close(figure)
