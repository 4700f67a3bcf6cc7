"""Measures every segmentation model of a repository on the same photos and writes the results.

    python -m training.report --data DATA
    python -m training.report --data DATA --quick

`--quick` measures a few photos, to try the command.

Writes training/RESULTS.md and training/results/*.png; a quick run writes them into `build`. Also
writes a gallery of failures and of a clip. The gallery holds photos of the data pack, so its folder
is ignored by git.
"""

from pathlib import Path
from typing import Annotated

import cv2
import onnxruntime as ort
import typer

from training.benchmark.measure import describe_machine
from training.options import DEFAULT_REPOSITORY, DataPack, Repository
from training.report.inputs import open_inputs
from training.report.results import measure_models
from training.report.sections import write_report


def main(
    data: DataPack,
    repository: Repository = DEFAULT_REPOSITORY,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder of RESULTS.md; training by default, build with --quick."),
    ] = None,
    gallery: Annotated[Path, typer.Option(help="Folder of the gallery, which git ignores.")] = Path(
        "build/gallery"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure a few photos, to try the command.")
    ] = False,
) -> None:
    """Writes RESULTS.md, its plots and the gallery."""
    cv2.setNumThreads(1)
    folder = folder or Path("build" if quick else "training")
    machine = describe_machine() | {"onnxruntime": ort.__version__}
    inputs = open_inputs(data, repository, folder=folder, quick=quick)
    write_report(measure_models(inputs, machine), folder, gallery)


if __name__ == "__main__":
    typer.run(main)
