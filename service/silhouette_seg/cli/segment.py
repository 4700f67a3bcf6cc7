"""The command `silhouette segment`: segments photo and video files in this process or remotely."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
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

from silhouette_seg.api.request.parameters import SegmentOptions, parse_parameters
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS
from silhouette_seg.cli.console import err, fail, load_settings, out, print_line
from silhouette_seg.cli.local import CliOptions, LocalRunner, open_runner, run_all
from silhouette_seg.cli.options import given_parameters, with_parameter_options
from silhouette_seg.cli.outcome import Failure, count_kinds
from silhouette_seg.cli.tasks import (
    VIDEO_RESULT_SUFFIXES,
    FileTask,
    Plan,
    check_videos,
    plan_tasks,
)
from silhouette_seg.errors import ServiceError
from silhouette_seg.settings import CLIENT_KEY_VARIABLE, Settings
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@with_parameter_options
def segment(
    inputs: Annotated[list[Path], typer.Argument(help="Photos, videos, or folders of them.")],
    to: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the results. For a single video: a .mp4 or .webm file, or a folder "
            "for its frames as pictures.",
        ),
    ],
    server: Annotated[
        str | None,
        typer.Option(help="URL of a running service to send photos to; no model is loaded here."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="API key for --server.", envvar=CLIENT_KEY_VARIABLE)
    ] = None,
    **parameters: str | bool | None,
) -> None:
    """Segment photos and videos.

    A file that fails does not stop the others; the exit code is then 1.
    """
    given = given_parameters(parameters)
    smoothing = given.pop("smoothing", None)
    background = _background_file(given)
    options = CliOptions(
        _parse_options(given, has_background_image=background is not None),
        background,
        _parse_smoothing(smoothing),
    )
    try:
        video_suffix = VIDEO_RESULT_SUFFIXES[options.options.render.transparent]
        plan = plan_tasks(inputs, to, options.format, video_suffix)
        check_videos(plan.tasks, options.options)
        if smoothing is not None and not any(task.is_video for task in plan.tasks):
            fail("smoothing: has no effect on photos")
        _print_renamed(plan)
        if server is None:
            failures = asyncio.run(_segment_local(plan.tasks, options, load_settings()))
        else:
            given["format"] = options.format.value
            failures = asyncio.run(_segment_remote(plan.tasks, given, background, server, key))
    except (ServiceError, OSError, ValueError) as error:
        fail(str(error))
    _print_summary(plan, failures, to)


async def _segment_local(
    tasks: list[FileTask], options: CliOptions, settings: Settings
) -> list[Failure]:
    """Segments the photo files a few at a time, then the video files one by one.

    Shows the progress on stderr, and returns the files that failed.
    """
    photos = [task for task in tasks if not task.is_video]
    videos = [task for task in tasks if task.is_video]
    async with open_runner(options, settings) as runner:
        failures: list[Failure] = []
        if photos or not videos:
            with _photo_progress() as progress:
                bar = progress.add_task("", total=len(photos))
                failures += await run_all(
                    photos, runner.segment_photo, runner.concurrency, lambda: progress.advance(bar)
                )
        return failures + await _segment_videos(videos, runner)


async def _segment_videos(videos: list[FileTask], runner: LocalRunner) -> list[Failure]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    failures: list[Failure] = []
    with Progress(*columns, console=err) as progress:
        for task in videos:
            bar = progress.add_task(task.source.name, total=None)

            def on_progress(done_s: float, total_s: float | None, bar: TaskID = bar) -> None:
                progress.update(bar, completed=done_s, total=total_s)

            failure = await runner.segment_video(task, on_progress)
            if failure is None:
                progress.update(bar, completed=1, total=1)
            else:
                failures.append(failure)
    return failures


async def _segment_remote(
    tasks: list[FileTask],
    parameters: dict[str, str],
    background: Path | None,
    server: str,
    key: str | None,
) -> list[Failure]:
    from silhouette_seg.cli.remote import RemoteOptions, segment_remote
    from silhouette_seg.client import Client, ClientError

    try:
        async with Client(server, key) as client:
            with _photo_progress() as progress:
                bar = progress.add_task("", total=len(tasks))
                options = RemoteOptions(parameters, background)
                return await segment_remote(tasks, options, client, lambda: progress.advance(bar))
    except ClientError as error:
        fail(str(error))


def _photo_progress() -> Progress:
    columns = (TextColumn("segmenting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err)


def _print_renamed(plan: Plan) -> None:
    """Prints to stderr each result with a longer name, because inputs share the usual one."""
    for task in plan.renamed:
        line = f"{task.source}: the result is {task.result.name}, as another input has its name"
        print_line(err, line)


def _print_summary(plan: Plan, failures: list[Failure], to: Path) -> None:
    """Prints each failure to stderr, and to stdout the number of results and of skipped files.

    `failures` are those of the tasks. Exits with 1 if a file failed or no file was segmented.
    """
    failures = plan.failures + failures
    total = len(plan.tasks) + len(plan.failures)
    for failure in failures:
        print_line(err, f"{failure.source}: {failure.reason}")
    noun = "files" if any(task.is_video for task in plan.tasks) else "photos"
    print_line(out, f"{total - len(failures)} of {total} {noun} done, in {to}")
    if plan.skipped:
        print_line(out, f"{len(plan.skipped)} skipped: {count_kinds(plan.skipped)}")
    if failures or not total:
        raise typer.Exit(1)


def _background_file(given: dict[str, str]) -> Path | None:
    """Removes `background` from the parameters and returns it if it is the path of a file.

    Returns None, and leaves the parameters unchanged, if it is absent or a colour or blur.
    """
    path = Path(given.get("background", ""))
    if not path.is_file():
        return None
    del given["background"]
    return path


def _parse_options(given: dict[str, str], *, has_background_image: bool) -> SegmentOptions:
    try:
        return parse_parameters(given, has_background_image=has_background_image)
    except ServiceError as error:
        fail(error.detail)


def _parse_smoothing(text: str | None) -> float:
    if text is None:
        return DEFAULT_SMOOTHING
    try:
        return float(str(STREAM_PARAMETERS["smoothing"].parse(text)))
    except ValueError as error:
        fail(f"smoothing: {error}")
