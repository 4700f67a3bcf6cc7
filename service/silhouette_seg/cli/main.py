"""The `silhouette` command: serve, segment files, list models."""

import asyncio
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from silhouette_seg.api.request.parameters import SegmentOptions, parse_parameters
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS
from silhouette_seg.cli.local import Bench, FileOrder, attempt_all, open_bench
from silhouette_seg.cli.tasks import VIDEO_RESULTS, Failure, Task, check_videos, plan
from silhouette_seg.errors import ServiceError
from silhouette_seg.settings import CLIENT_KEY_VARIABLE, Settings
from silhouette_seg.spec import ModelSpec
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING

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
    from silhouette_seg.server.server import CannotListen
    from silhouette_seg.server.server import serve as run_server

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
    inputs: Annotated[list[Path], typer.Argument(help="Photos, videos, or folders of them.")],
    to: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the results. For one video: a .mp4 or .webm, or a folder for its "
            "frames as pictures.",
        ),
    ],
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
    person: Annotated[
        str | None, typer.Option(help="all, or dominant: one of several.  [default: all]")
    ] = None,
    refine: Annotated[
        str | None, typer.Option(help="guided by the photo's edges, or none.  [default: guided]")
    ] = None,
    keep_spill: Annotated[
        bool, typer.Option("--keep-spill", help="Leave the old background's colour in the edge.")
    ] = False,
    grow: Annotated[str | None, typer.Option(help="Pixels; negative shrinks.")] = None,
    feather: Annotated[str | None, typer.Option(help="Pixels.")] = None,
    threshold: Annotated[str | None, typer.Option(help="0..1; makes the mask hard.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Crop to the person.")] = False,
    crop_margin: Annotated[str | None, typer.Option(help="Percent of the person.")] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Keep the background.")] = False,
    layout: Annotated[
        str | None, typer.Option(help="Where the person goes: x:0.3,y:1,scale:0.6,flip:true;...")
    ] = None,
    light_wrap: Annotated[
        str | None, typer.Option(help="Percent of the background's light round the person.")
    ] = None,
    smoothing: Annotated[
        str | None,
        typer.Option(
            help=f"0..1, of a video: what stands still flickers less.  [{DEFAULT_SMOOTHING}]"
        ),
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="URL of a service to send photos to; no model is loaded.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="For --server.", envvar=CLIENT_KEY_VARIABLE)
    ] = None,
) -> None:
    """Segment photos and videos. One that fails does not stop the rest; the exit code is then 1."""
    picture = Path(background) if background and Path(background).is_file() else None
    given = {
        "output": output,
        "background": None if picture else background,
        "format": image_format,
        "model": model,
        "domain": domain,
        "person": person,
        "refine": refine,
        "decontaminate": "false" if keep_spill else None,
        "grow": grow,
        "feather": feather,
        "threshold": threshold,
        "crop": "true" if crop else None,
        "crop_margin": crop_margin,
        "invert": "true" if invert else None,
        "layout": layout,
        "light_wrap": light_wrap,
    }
    parameters = {name: value for name, value in given.items() if value is not None}
    options = _options(parameters, has_background_image=picture is not None)
    order = FileOrder(options, picture, _smoothing(smoothing))
    try:
        video = VIDEO_RESULTS[options.render.transparent]
        tasks, refused = plan(inputs, to, order.format, video)
        check_videos(tasks, options)
        if smoothing is not None and not any(task.is_video for task in tasks):
            _stop("smoothing: has no effect on photos")
        if server is None:
            failed = asyncio.run(_segment(tasks, order, _settings()))
        else:
            parameters["format"] = order.format.value
            failed = asyncio.run(_post(tasks, parameters, picture, (server, key)))
    except (ServiceError, OSError, ValueError) as error:
        _stop(str(error))
    _summary(tasks, refused, failed, to)


@app.command()
def models() -> None:
    """List the models of the repository."""
    from silhouette_seg.pipeline.registry import read_specs

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


async def _segment(tasks: list[Task], order: FileOrder, settings: Settings) -> list[Failure]:
    """On this machine: the photos a few at a time, then the videos one by one."""
    photos = [task for task in tasks if not task.is_video]
    videos = [task for task in tasks if task.is_video]
    async with open_bench(order, settings) as bench:
        failed: list[Failure] = []
        if photos or not videos:
            with _photo_progress() as progress:
                bar = progress.add_task("", total=len(photos))
                failed += await attempt_all(
                    photos, bench.segment_photo, bench.at_once, lambda: progress.advance(bar)
                )
        return failed + await _segment_videos(videos, bench)


async def _segment_videos(videos: list[Task], bench: Bench) -> list[Failure]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    failed: list[Failure | None] = []
    with Progress(*columns, console=err) as progress:
        for task in videos:
            bar = progress.add_task(task.photo.name, total=None)

            def on_progress(done_s: float, total_s: float | None, bar: TaskID = bar) -> None:
                progress.update(bar, completed=done_s, total=total_s)

            failed.append(await bench.segment_video(task, on_progress))
            if failed[-1] is None:
                progress.update(bar, completed=1, total=1)
    return [failure for failure in failed if failure]


async def _post(
    tasks: list[Task], parameters: dict[str, str], picture: Path | None, at: tuple[str, str | None]
) -> list[Failure]:
    """On the service at that URL, with that key."""
    from silhouette_seg.cli.remote import Posting, post_files
    from silhouette_seg.client import Client, ClientError

    try:
        async with Client(*at) as client:
            with _photo_progress() as progress:
                bar = progress.add_task("", total=len(tasks))
                posting = Posting(parameters, picture)
                return await post_files(tasks, posting, client, lambda: progress.advance(bar))
    except ClientError as error:
        _stop(str(error))


def _photo_progress() -> Progress:
    columns = (TextColumn("segmenting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err)


def _summary(tasks: list[Task], refused: list[Failure], failed: list[Failure], to: Path) -> None:
    failures = refused + failed
    total = len(tasks) + len(refused)
    for failure in failures:
        _say(err, f"{failure.photo}: {failure.reason}")
    what = "files" if any(task.is_video for task in tasks) else "photos"
    _say(out, f"{total - len(failures)} of {total} {what} done, in {to}")
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


def _options(given: dict[str, str], *, has_background_image: bool) -> SegmentOptions:
    try:
        return parse_parameters(given, has_background_image=has_background_image)
    except ServiceError as error:
        _stop(error.detail)


def _smoothing(given: str | None) -> float:
    if given is None:
        return DEFAULT_SMOOTHING
    try:
        return float(str(STREAM_PARAMETERS["smoothing"].parse(given)))
    except ValueError as error:
        _stop(f"smoothing: {error}")


def _say(console: Console, line: str) -> None:
    """As it is: a file name is neither markup nor wrapped."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _stop(*lines: str) -> NoReturn:
    for line in lines:
        _say(err, f"error: {line}")
    raise typer.Exit(1)
