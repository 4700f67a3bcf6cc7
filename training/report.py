"""Pictures of a run."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot as plt  # the backend comes first


def plot_curve(history: Path, picture: Path) -> None:
    """Loss and validation mIoU over epochs, as PNG."""
    rows = [json.loads(line) for line in history.read_text().splitlines()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name in ("cross_entropy", "semantic_connectivity", "jaccard"):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        if points:
            left.plot(*zip(*points, strict=True), label=name)
    names = sorted({name for row in rows for name in row if name.startswith("val/")})
    for name in names:
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        right.plot(*zip(*points, strict=True), label=name.removeprefix("val/"))
    left.set(xlabel="epoch", ylabel="loss", yscale="log")
    right.set(xlabel="epoch", ylabel="mIoU, image mean (%)", ylim=(80, 100))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:  # nothing is measured before the first evaluation
            axes.legend(fontsize=8)
    figure.savefig(picture, dpi=110)
    plt.close(figure)
