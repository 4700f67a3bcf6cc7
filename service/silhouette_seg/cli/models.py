"""The commands `silhouette models`: lists the models of the repository."""

import typer
from rich.table import Table

from silhouette_seg.cli.console import fail, load_settings, out, print_line
from silhouette_seg.pipeline.model_folders import read_folders
from silhouette_seg.spec import ModelSpec

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def list_models(context: typer.Context) -> None:
    """List the models of the repository. Its commands import and check models."""
    if context.invoked_subcommand is not None:
        return
    settings = load_settings()
    table = Table(title=f"Models in {settings.model_repository}")
    for heading in ("name", "task", "input", "run", "sha256", "mIoU"):
        table.add_column(heading, overflow="fold")
    try:
        folders = read_folders(settings.model_repository, settings.models)
    except (OSError, ValueError) as error:
        fail(str(error))
    for spec in folders.specs:
        table.add_row(*_model_row(spec))
    out.print(table)
    for spec in folders.specs:
        print_line(out, f"{spec.name}: {spec.licence}")
    for name, reason in folders.failures.items():
        print_line(out, f"{name}: not available: {reason}")


def _model_row(spec: ModelSpec) -> tuple[str, ...]:
    """Returns the table cells of a model: name, task, input size, run, digest and mIoU in percent.

    The mIoU covers all data sets of the validation split, and is `-` if the spec has none.
    """
    miou = spec.metrics.get("all", {}).get("miou_image_mean")
    return (
        spec.name,
        spec.task,
        f"{spec.size_hw[1]}x{spec.size_hw[0]} {spec.resize}",
        spec.run,
        spec.sha256[:12],
        "-" if miou is None else f"{miou:.2f}",
    )
