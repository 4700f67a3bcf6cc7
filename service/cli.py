"""The `silhouette` command: serve, segment files, list models."""

import asyncio
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from service.errors import ServiceError
from service.files import Failure, FileOrder, Task, plan, segment_files
from service.routes.options import SegmentOptions, parse
from service.settings import Settings
from service.spec import ModelSpec

app = typer.Typer(
    name="silhouette",
    help="Portrait segmentation: photos in; masks, cut-outs and composites out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)


def main() -> None:
    app()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind; 0 picks a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads for pixels and inference.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or tensorrt.")] = None,
    model_repository: Annotated[Path | None, typer.Option(help="Folder of models.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
) -> None:
    """Serve over HTTP. Every setting is also a SILHOUETTE_ variable; options win."""
    from service.server import CannotListen
    from service.server import serve as run_server

    settings = _settings(
        host=host,
        port=port,
        workers=workers,
        device=device,
        model_repository=model_repository,
        log_format=log_format,
    )
    try:
        run_server(settings)
    except (CannotListen, ServiceError, ValueError, OSError) as error:
        _stop(str(error))


@app.command()
def segment(
    inputs: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    to: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    output: Annotated[str | None, typer.Option(help="mask, cutout or composite.")] = None,
    background: Annotated[
        str | None, typer.Option(help="#rrggbb, blur:<percent>, or a picture file.")
    ] = None,
    image_format: Annotated[
        str | None, typer.Option("--format", help="png, webp or jpeg.  [default: png]")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A name of `silhouette models`.")] = None,
    domain: Annotated[
        str | None, typer.Option(help="far_shot ... no_face, for a model that takes one.")
    ] = None,
    grow: Annotated[str | None, typer.Option(help="Pixels; negative shrinks.")] = None,
    feather: Annotated[str | None, typer.Option(help="Pixels.")] = None,
    threshold: Annotated[str | None, typer.Option(help="0..1; makes the mask hard.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Crop to the person.")] = False,
    crop_margin: Annotated[str | None, typer.Option(help="Percent of the person.")] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Keep the background.")] = False,
) -> None:
    """Segment photos. One that fails does not stop the rest; the exit code is then 1."""
    picture = Path(background) if background and Path(background).is_file() else None
    options = _options(
        has_picture=picture is not None,
        output=output,
        background=None if picture else background,
        format=image_format,
        model=model,
        domain=domain,
        grow=grow,
        feather=feather,
        threshold=threshold,
        crop="true" if crop else None,
        crop_margin=crop_margin,
        invert="true" if invert else None,
    )
    order = FileOrder(options, picture)
    try:
        tasks, refused = plan(inputs, to, order.format)
        failed = asyncio.run(_with_progress(tasks, order, _settings()))
    except (ServiceError, OSError, ValueError) as error:
        _stop(str(error))
    _summary(len(tasks) + len(refused), refused + failed, to)


@app.command()
def models() -> None:
    """List the models of the repository."""
    from service.catalog import read_specs

    settings = _settings()
    table = Table(title=f"Models in {settings.model_repository}")
    for heading in ("name", "task", "input", "run", "sha256", "mIoU"):
        table.add_column(heading, overflow="fold")
    try:
        specs = read_specs(settings.model_repository, settings.models)
    except (OSError, ValueError) as error:
        _stop(str(error))
    for spec in specs:
        table.add_row(*_row(spec))
    out.print(table)
    for spec in specs:
        _say(out, f"{spec.name}: {spec.licence}")


async def _with_progress(tasks: list[Task], order: FileOrder, settings: Settings) -> list[Failure]:
    columns = (TextColumn("segmenting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        bar = progress.add_task("", total=len(tasks))
        return await segment_files(tasks, order, settings, lambda: progress.advance(bar))


def _summary(total: int, failures: list[Failure], to: Path) -> None:
    for failure in failures:
        _say(err, f"{failure.photo}: {failure.reason}")
    _say(out, f"{total - len(failures)} of {total} photos done, in {to}")
    if failures or not total:
        raise typer.Exit(1)


def _row(spec: ModelSpec) -> tuple[str, ...]:
    """mIoU is that over all sources of the validation split; the card has the rest."""
    miou = spec.metrics.get("all", {}).get("miou_image_mean")
    return (
        spec.name,
        spec.task,
        f"{spec.size_hw[1]}x{spec.size_hw[0]} {spec.resize}",
        spec.run,
        spec.sha256[:12],
        "-" if miou is None else f"{miou:.2f}",
    )


def _settings(**options: object) -> Settings:
    """The environment's settings under the options that were given; stops on a bad value."""
    try:
        return Settings.model_validate(
            {name: value for name, value in options.items() if value is not None}
        )
    except ValidationError as error:
        _stop(
            *(
                ": ".join(filter(None, (".".join(map(str, wrong["loc"])), wrong["msg"])))
                for wrong in error.errors()
            )
        )


def _options(*, has_picture: bool, **given: str | None) -> SegmentOptions:
    try:
        return parse(
            {name: value for name, value in given.items() if value is not None},
            has_picture=has_picture,
        )
    except ServiceError as error:
        _stop(error.detail)


def _say(console: Console, line: str) -> None:
    """As it is: a file name is neither markup nor wrapped."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _stop(*lines: str) -> NoReturn:
    for line in lines:
        _say(err, f"error: {line}")
    raise typer.Exit(1)
