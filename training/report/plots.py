"""Draws the plots of the results; only the gallery holds photos of the data pack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

from training.evaluation.metrics import Estimate

matplotlib.use("agg")

from matplotlib import pyplot as plt  # the backend comes first
from matplotlib import ticker

DPI = 110
PERSON_RGB = np.array((255, 0, 120))
"""Colour of the person in the gallery's masks, RGB."""


@dataclass(frozen=True, slots=True)
class TradeoffPoint:
    """A model in the plot of accuracy against time."""

    name: str
    ms: float
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class GalleryRow:
    """A row of the gallery: photo uint8 [H,W,3], reference and predicted mask bool [H,W]."""

    title: str
    photo: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    prediction: NDArray[np.bool_]


def plot_tradeoff(
    points: Sequence[TradeoffPoint], picture: Path, *, time: str, accuracy: str
) -> None:
    """Plots accuracy with its interval against milliseconds on a logarithmic axis."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for point in points:
        axes.errorbar(
            point.ms,
            point.accuracy.value,
            yerr=_error_bars([point.accuracy]),
            fmt="o",
            capsize=4,
            label=point.name,
        )
    axes.set(xscale="log", xlabel=time, ylabel=accuracy)
    axes.margins(x=0.3)
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.legend(fontsize=8, loc="best")
    axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=DPI)
    plt.close(figure)


def plot_bars(
    names: Sequence[str], series: dict[str, Sequence[Estimate]], picture: Path, *, label: str
) -> None:
    """Plots a group of bars for each name.

    The axis starts near the lowest interval end; its label gives the value.
    """
    figure, axes = plt.subplots(figsize=(11, 4.5), layout="constrained")
    width = 0.8 / len(series)
    positions = np.arange(len(names))
    for number, (name, values) in enumerate(series.items()):
        heights = [value.value for value in values]
        centres = positions + (number - (len(series) - 1) / 2) * width
        axes.bar(centres, heights, width, label=name, yerr=_error_bars(values), capsize=2)
    lowest = min(value.low for values in series.values() for value in values)
    floor = max(0.0, 5 * np.floor(lowest / 5 - 0.5))
    axes.set(ylim=(floor, 100), ylabel=f"{label} (from {floor:.0f} up)")
    axes.set_xticks(positions, names)
    axes.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside lower center", ncols=len(series), fontsize=8)
    figure.savefig(picture, dpi=DPI)
    plt.close(figure)


def _error_bars(values: Sequence[Estimate]) -> NDArray[np.float64]:
    """Returns the lengths of the error bars [2,N], down and up; 0 for too few photos."""
    down = [value.value - value.low if value.has_interval else 0 for value in values]
    up = [value.high - value.value if value.has_interval else 0 for value in values]
    # Rounding may put the percentiles of a few equal photos past their mean.
    return np.array([down, up]).clip(0)


def plot_gallery(rows: Sequence[GalleryRow], file: Path) -> None:
    """Draws photo, reference and predicted mask side by side."""
    figure, grid = plt.subplots(
        len(rows), 3, figsize=(9, 3 * len(rows)), layout="constrained", squeeze=False
    )
    for panels, row in zip(grid, rows, strict=True):
        images = (
            row.photo,
            tint_person(row.photo, row.truth),
            tint_person(row.photo, row.prediction),
        )
        for axes, image in zip(panels, images, strict=True):
            axes.imshow(image)
            axes.axis("off")
        panels[0].set_title(row.title, fontsize=9, loc="left")
        panels[1].set_title("reference", fontsize=9)
        panels[2].set_title("prediction", fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
    plt.close(figure)


def plot_strip(rows: Mapping[str, Sequence[NDArray[np.uint8]]], file: Path) -> None:
    """Draws a row of frames for each name: photos uint8 [H,W,3] or masks uint8 [H,W]."""
    height, width = next(iter(rows.values()))[0].shape[:2]
    columns = max(len(row) for row in rows.values())
    figure, grid = plt.subplots(
        *(len(rows), columns),
        figsize=(1.5 * columns + 1.5, 1.5 * height / width * len(rows)),
        layout="constrained",
        squeeze=False,
    )
    for panels, (name, pictures) in zip(grid, rows.items(), strict=True):
        for axes, picture in zip(panels, pictures, strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
        panels[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
    plt.close(figure)


def tint_person(photo: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Tints the person and dims the rest."""
    tinted = 0.55 * photo + 0.45 * PERSON_RGB
    return np.where(mask[..., None], tinted, 0.45 * photo).astype(np.uint8)
