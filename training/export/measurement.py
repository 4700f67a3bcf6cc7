"""Measures an exported model on the validation split, and writes the figures to its folder.

    python -m training.export.measurement model_repository/rcrnet --data DATA

The export measures a model too. This command measures a published model again when the data pack
has changed. The figures of all published models must have the same photos.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from silhouette_seg.spec import SPEC_FILE, ModelSpec, ModelTask, load_spec
from training.data.dataset import read_backgrounds, read_portraits
from training.evaluation.faces import detector_from_model, measure_faces, summary_table
from training.evaluation.masks import evaluate_masks, metrics_table, segmenter_from_spec
from training.evaluation.onnx_model import open_onnx
from training.export.model_card import write_card
from training.options import DataPack


def measure(spec: ModelSpec, file: Path, data: Path) -> tuple[ModelSpec, Table]:
    """Returns the spec with the metrics of `file` on the validation split, and their table.

    Metrics are rounded to four decimals.
    """
    portraits = read_portraits(data, "val")
    if spec.task is ModelTask.FACES:
        predict = open_onnx(file)
        detect_faces = detector_from_model(predict, size_hw=spec.size_hw, resize=spec.resize)
        report = measure_faces(detect_faces, portraits, read_backgrounds(data, "val"))
        return _with_metrics(spec, report.spec_metrics()), summary_table({spec.run: report})
    summaries = evaluate_masks(segmenter_from_spec(spec, file), portraits)
    return _with_metrics(spec, summaries), metrics_table(summaries)


def write_spec(spec: ModelSpec, folder: Path) -> None:
    """Writes `spec.json` into the folder of a model."""
    (folder / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")


def _with_metrics(spec: ModelSpec, summaries: dict[str, dict[str, float]]) -> ModelSpec:
    metrics = {
        source: {name: round(value, 4) for name, value in row.items()}
        for source, row in summaries.items()
    }
    return spec.model_copy(update={"metrics": metrics})


def main(
    model_dir: Annotated[Path, typer.Argument(help="Folder of a model in model_repository/.")],
    data: DataPack,
) -> None:
    """Measures a published model again; its weights and its other files stay as they are."""
    spec = load_spec(model_dir)
    measured, table = measure(spec, spec.model_file(model_dir.parent), data)
    write_spec(measured, model_dir)
    write_card(measured, model_dir)
    Console(width=140).print(table)


if __name__ == "__main__":
    typer.run(main)
