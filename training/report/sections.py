"""Table of the sections of RESULTS.md: measurement, text and pictures of each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from training.report.accuracy import accuracy_text, differences_text, draw_bars, targets_text
from training.report.calibration import calibration_text, draw_reliability, measure_calibration
from training.report.edges import edges_text, measure_edges
from training.report.faces import faces_text
from training.report.failures import draw_failures, failures_text
from training.report.outlines import measure_outlines, outlines_text
from training.report.overview import curves_text, models_text, opening_text, unverified_text
from training.report.results import PICTURES_FOLDER, Results
from training.report.speed import draw_tradeoff, times_text
from training.report.streams import draw_strip, measure_video, streams_text
from training.report.unseen import measure_unseen, unseen_text
from training.report.zoom import measure_zoom, zoom_text

F = TypeVar("F")


def no_pictures(_figures: object, _pictures: Path, _gallery: Path) -> None:
    """Draws nothing."""


@dataclass(frozen=True, slots=True)
class Section(Generic[F]):
    """A section of RESULTS.md with its own measurement."""

    measure: Callable[[Results], F]
    text: Callable[[F], str]
    """Returns the Markdown of the section; empty for a section without content."""
    draw: Callable[[F, Path, Path], None] = no_pictures
    """Draws plots into the first folder, and pictures with photos into the second, the gallery."""

    def write(self, results: Results, pictures: Path, gallery: Path) -> str:
        """Measures the section, draws its pictures and returns its text."""
        figures = self.measure(results)
        self.draw(figures, pictures, gallery)
        return self.text(figures)


def shared(results: Results) -> Results:
    """Returns the results: the section needs only measurements that several sections share."""
    return results


SECTIONS: tuple[Section[Any], ...] = (
    Section(shared, opening_text),
    Section(shared, models_text),
    Section(shared, accuracy_text, draw_bars),
    Section(shared, differences_text),
    Section(measure_unseen, unseen_text),
    Section(shared, targets_text),
    Section(
        lambda results: measure_outlines(results.inputs.portraits, results.inputs.groups),
        outlines_text,
    ),
    Section(
        lambda results: measure_zoom(
            [model.spec for model in results.inputs.models if model.digest_holds],
            results.inputs.repository,
            results.inputs.portraits,
            results.inputs.backgrounds,
        ),
        zoom_text,
    ),
    Section(
        lambda results: measure_edges(
            results.inputs.predictors, results.inputs.portraits, results.inputs.backgrounds
        ),
        edges_text,
    ),
    Section(
        lambda results: measure_calibration(
            results.inputs.specs,
            results.inputs.repository,
            results.inputs.detect_faces,
            results.inputs.portraits,
            results.inputs.backgrounds,
        ),
        calibration_text,
        draw_reliability,
    ),
    Section(measure_video, streams_text, draw_strip),
    Section(shared, times_text, draw_tradeoff),
    Section(shared, curves_text),
    Section(shared, failures_text, draw_failures),
    Section(shared, faces_text),
    Section(shared, unverified_text),
)
"""Sections of the file in their order."""


def write_report(results: Results, folder: Path, gallery: Path) -> None:
    """Writes RESULTS.md and its plots into `folder`, and pictures with photos into `gallery`."""
    pictures = folder / PICTURES_FOLDER
    pictures.mkdir(parents=True, exist_ok=True)
    texts = [section.write(results, pictures, gallery) for section in SECTIONS]
    (folder / "RESULTS.md").write_text("\n\n".join(text for text in texts if text) + "\n")
