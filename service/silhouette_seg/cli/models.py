"""The commands `silhouette models`: lists the models of the repository, imports and checks them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from silhouette_seg.cli.console import (
    LOOPBACK,
    ModelRepositoryOption,
    err,
    fail,
    load_repository,
    load_settings,
    out,
    print_line,
)
from silhouette_seg.cli.import_model import import_command
from silhouette_seg.errors import InstallationError
from silhouette_seg.pipeline.model_folders import find_models, read_folders
from silhouette_seg.runtime.extras import check_runtime, missing_module, require
from silhouette_seg.spec import ModelSpec

MAX_LINE = 10_000
"""Characters of the longest line that is printed to a file or a pipe."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command("import")(import_command)


@app.callback(invoke_without_command=True)
def list_models(context: typer.Context, model_repository: ModelRepositoryOption = None) -> None:
    """List the models of the repository. Its commands import and check models.

    The exit code is 1 if one is not available.
    """
    if context.invoked_subcommand is not None:
        if model_repository:
            fail(f"--model-repository goes behind the command {context.invoked_subcommand}")
        return
    settings = load_settings(host=LOOPBACK, model_repository=model_repository)
    try:
        folders = read_folders(settings.model_repository, settings.models)
    except (OSError, ValueError) as error:
        fail(str(error))
    print_line(out, f"Models in {settings.model_repository}")
    _print_table(folders.specs)
    if len({_photo_set(spec) for spec in folders.specs if _miou(spec) is not None}) > 1:
        print_line(out, "The models were measured on different photos: do not compare their mIoU.")
    for spec in folders.specs:
        print_line(out, f"{spec.name}: from {spec.run}, sha256 {spec.sha256[:12]}; {spec.licence}")
    for name, reason in folders.failures.items():
        print_line(err, f"{name}: not available: {reason}")
    if folders.failures:
        raise typer.Exit(1)


@app.command()
def check(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of models in the repository, folders of models, or ONNX files to import. "
            "Without any, every model of the repository."
        ),
    ] = None,
    model_repository: ModelRepositoryOption = None,
) -> None:
    """Explain why a model cannot be served, or an ONNX file cannot be imported.

    Each model runs once on a drawn portrait. The exit code is 1 if one has a fault.
    """
    try:
        check_runtime()
        paths = _paths(models or [], model_repository)
        if any(path.suffix == ".onnx" for path in paths):
            require("onnx", "Checks of ONNX files", "import")
    except (InstallationError, ValueError) as error:
        fail(str(error))
    faulty = [path for path in paths if not _report(path)]
    _tell_missing_onnx()
    if faulty:
        raise typer.Exit(1)


def _paths(models: list[str], model_repository: Path | None) -> list[Path]:
    """Returns the folder or file of each argument, or all models of the repository without any.

    Raises ValueError for a name that the repository does not have.
    """
    if not models:
        repository = load_repository(model_repository)
        return [repository / name for name in find_models(repository)]
    return [_path(model, model_repository) for model in models]


def _path(model: str, model_repository: Path | None) -> Path:
    path = Path(model)
    if path.exists() or "/" in model or path.suffix == ".onnx":
        return path.resolve()
    repository = load_repository(model_repository)
    if not (repository / model).is_dir():
        names = ", ".join(find_models(repository))
        raise ValueError(f"{repository} has no model {model}; available: {names}")
    return repository / model


def _report(path: Path) -> bool:
    """Prints the faults of a folder or file, and returns whether it has none."""
    from silhouette_seg.model_import.folder_check import check_file, check_folder

    is_file = path.suffix == ".onnx" and not path.is_dir()
    faults = check_file(path) if is_file else check_folder(path)
    ok = "can be imported" if is_file else "ok"
    for fault in faults or [ok]:
        print_line(err if faults else out, f"{path.name}: {fault}")
    return not faults


def _tell_missing_onnx() -> None:
    from silhouette_seg.model_import.folder_check import can_examine

    if not can_examine():
        print_line(err, missing_module("onnx", "Checks of weights and operators", "import"))


def _print_table(specs: Iterable[ModelSpec]) -> None:
    """Prints a line for each model. Only a terminal folds names that are too long for it."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("name", "task", "input", "accuracy"):
        table.add_column(heading, overflow="fold")
    for spec in specs:
        table.add_row(*_model_row(spec))
    Console(width=None if out.is_terminal else MAX_LINE).print(table)


def _model_row(spec: ModelSpec) -> tuple[str, ...]:
    """Returns the table cells of a model: name, task, input size and accuracy.

    The accuracy is the mIoU in percent over all photos of the validation split, with their number.
    It is `-` if the spec has none.
    """
    miou, photos = _miou(spec), spec.metrics.get("all", {}).get("photos", 0)
    return (
        spec.name,
        spec.task,
        f"{spec.size_hw[1]}x{spec.size_hw[0]} {spec.resize}",
        "-" if miou is None else f"mIoU {miou:.2f} % of {photos:.0f} photos",
    )


def _miou(spec: ModelSpec) -> float | None:
    return spec.metrics.get("all", {}).get("miou_image_mean")


def _photo_set(spec: ModelSpec) -> frozenset[tuple[str, float]]:
    """Returns the sources of the photos that a model was measured on, each with their number."""
    return frozenset((source, row.get("photos", 0)) for source, row in spec.metrics.items())
