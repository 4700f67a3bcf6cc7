"""Writes and draws the worst photos of each model."""

from pathlib import Path

from training.data.dataset import Portrait
from training.data.pack_check import VALIDATION_ONLY_SOURCES
from training.report.markdown import table
from training.report.plots import GalleryRow, plot_gallery
from training.report.results import Results
from training.report.scores import ModelScores, worst_cases


def failures_text(results: Results) -> str:
    """Writes the section of failures: a table of the worst photos for each model."""
    count = results.inputs.size.failures
    parts = [
        "## Failures",
        f"The {count} worst photos of each model by mean IoU of both"
        " classes. The photos are not ours to publish:"
        " `python -m training.report --data DATA --gallery build/gallery` draws input, reference"
        " and mask of each into a folder that git ignores.",
    ]
    for scores in results.model_scores:
        if scores.is_primary:
            rows = [
                _failure_row(results.inputs.portraits[row], scores, row)
                for row in worst_cases(scores, count)
            ]
            head = ("photo", "source", "domain", "mean IoU", "IoU person", "CA", "SC")
            parts.append(f"### {scores.label}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def _failure_row(portrait: Portrait, model_scores: ModelScores, row: int) -> tuple[str, ...]:
    score = model_scores.scores[row]
    shares = (sum(score.iou) / 2, score.iou[1], score.contour_accuracy, score.connectivity)
    percent = (f"{100 * share:.1f}" for share in shares)
    return portrait.id, portrait.source, portrait.domain.label, *percent


def draw_failures(results: Results, _pictures: Path, gallery: Path) -> None:
    """Draws photo, reference and mask of the worst photos of each model into `gallery`.

    `<model>.png` has the worst of all photos, `<model>_unseen.png` those of unseen sources.
    """
    count = results.inputs.size.failures
    unseen = [
        row
        for row, portrait in enumerate(results.inputs.portraits)
        if portrait.source in VALIDATION_ONLY_SOURCES
    ]
    for scores in results.model_scores:
        if scores.is_primary:
            name = scores.spec.name
            for stem, rows in ((name, None), (f"{name}_unseen", unseen)):
                worst = worst_cases(scores, count, rows)
                if worst:
                    shown = [_gallery_row(results, scores, row) for row in worst]
                    plot_gallery(shown, gallery / f"{stem}.png")


def _gallery_row(results: Results, model_scores: ModelScores, row: int) -> GalleryRow:
    portrait, score = results.inputs.portraits[row], model_scores.scores[row]
    predict_mask = results.inputs.predictors[model_scores.spec.name]
    return GalleryRow(
        f"{portrait.id} ({portrait.domain.label}): {50 * sum(score.iou):.1f}",
        portrait.rgb(),
        portrait.truth() > 127,
        predict_mask(portrait, portrait.domain) > 127,
    )
