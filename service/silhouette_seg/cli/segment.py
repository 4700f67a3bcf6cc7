"""The command `silhouette segment`: segments photo and video files in this process or remotely."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import Annotated

import typer

from silhouette_seg.api.request.parameters import SegmentOptions, parse_parameters, parse_value
from silhouette_seg.api.request.stream_parameters import STREAM_PARAMETERS
from silhouette_seg.cli.console import (
    LOOPBACK,
    ModelRepositoryOption,
    err,
    fail,
    load_settings,
    print_line,
)
from silhouette_seg.cli.files import STANDARD_STREAM
from silhouette_seg.cli.interrupt import Interrupted, run
from silhouette_seg.cli.local import CliOptions, open_runner, run_all
from silhouette_seg.cli.options import given_parameters, with_parameter_options
from silhouette_seg.cli.outcome import Failure, explain
from silhouette_seg.cli.progress import RunProgress
from silhouette_seg.cli.summary import (
    check_success,
    print_notice,
    print_renamed,
    print_summary,
)
from silhouette_seg.cli.tasks import (
    FileTask,
    Plan,
    VideoFormat,
    check_videos,
    plan_tasks,
    result_format,
    without_videos,
)
from silhouette_seg.errors import MAX_ECHOED_CHARACTERS, BadParameter, ServiceError
from silhouette_seg.settings import CLIENT_KEY_VARIABLE, Settings
from silhouette_seg.streaming.session import DEFAULT_SMOOTHING
from silhouette_seg.vision.codec.decode import read_header

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its columns cut the names of long options at 80 characters
)

ServerOption = Annotated[
    str | None,
    typer.Option(help="URL of a running service to send photos to; no model is loaded here."),
]
KeyOption = Annotated[
    str | None, typer.Option(help="API key for --server.", envvar=CLIENT_KEY_VARIABLE)
]
DeviceOption = Annotated[
    str | None, typer.Option(help="cpu, cuda, tensorrt, coreml, directml or rocm.")
]


@dataclass(frozen=True, slots=True)
class FileCommand:
    """Arguments of a command that processes files, apart from the parameters of the API."""

    inputs: Sequence[Path]
    to: Path
    server: str | None = None
    key: str | None = None
    skip_existing: bool = False
    overwrite: bool = False
    video_format: VideoFormat | None = None
    """Format of videos; None: by the suffix of `to`, or the default."""
    device: str | None = None
    model_repository: Path | None = None
    names_file: bool = False
    """True: `to` names the result itself, even without a suffix, unless it is a folder."""


@app.command()
@with_parameter_options
def segment(
    inputs: Annotated[
        list[Path], typer.Argument(help="Photos, videos, or folders of them; - is standard input.")
    ],
    to: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the results. For a single photo: also a .png, .jpg, .webp or .avif "
            "file, or - for standard output. For a single video: also a .mp4, .mov, .webm, .webp "
            "or .gif file; a folder gets its frames as pictures.",
        ),
    ],
    server: ServerOption = None,
    key: KeyOption = None,
    device: DeviceOption = None,
    model_repository: ModelRepositoryOption = None,
    skip_existing: Annotated[
        bool,
        typer.Option("--skip-existing", help="Leave out files with a result, to resume a run."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace an older folder of frames too. Older result files are always replaced.",
        ),
    ] = False,
    video_format: Annotated[
        VideoFormat | None,
        typer.Option(
            help="Format of videos in the folder of results. Without it: mp4, webm for cut-outs, "
            "or pictures for a single video."
        ),
    ] = None,
    **parameters: str | bool | None,
) -> None:
    """Segment photos and videos.

    A file that fails does not stop the others; the exit code is then 1.
    """
    if skip_existing and overwrite:
        fail("--skip-existing and --overwrite exclude each other")
    command = FileCommand(
        inputs,
        to,
        server,
        key,
        skip_existing,
        overwrite,
        video_format,
        device=device,
        model_repository=model_repository,
    )
    run_command(command, given_parameters(parameters))


def run_command(command: FileCommand, given: dict[str, str]) -> None:
    """Segments the files of a command and prints a summary.

    `given` are the parameters of the API as text by name. An error of the whole command, and a file
    that fails, end the process with code 1.
    """
    _check_terminals(command)
    _check_server(command)
    smoothing = given.pop("smoothing", None)
    background = _background_file(given)
    options = CliOptions(
        _parse_options(given, command.to, has_background_image=background is not None),
        background,
        _parse_smoothing(smoothing),
        command.overwrite,
    )
    progress = RunProgress()
    try:
        plan = _plan(command, options)
        if smoothing is not None and not plan.has_videos:
            fail("--smoothing: has no effect on photos")
        print_renamed(plan)
        if not (plan.tasks or plan.failures):
            pass  # neither a model nor a service is needed
        elif command.server is None:
            run(_segment_local(plan.tasks, options, _settings(command), progress))
        elif plan.tasks:
            parameters = given | {"format": options.format.value}
            run(_segment_remote(plan.tasks, parameters, background, command, progress))
    except ServiceError as error:
        fail(explain(error))
    except (OSError, ValueError) as error:
        fail(str(error))
    except Interrupted as stop:
        print_summary(plan, progress, command.to)
        hint = "; run again with --skip-existing to do the others" if len(plan.tasks) > 1 else ""
        print_line(err, f"stopped by {stop}{hint}")
        stop.end_process()
    print_summary(plan, progress, command.to)
    check_success(plan, progress)


def _plan(command: FileCommand, options: CliOptions) -> Plan:
    """Returns the plan of a command. Raises ValueError or ServiceError if its options do not fit.

    With a service, the videos are failures of the plan.
    """
    transparent = options.options.render.transparent
    chosen = command.video_format
    suffix = (chosen or VideoFormat.default(transparent=transparent)).suffix
    plan = plan_tasks(
        command.inputs,
        command.to,
        options.format,
        suffix,
        frames_in_folder=chosen is None,
        skip_existing=command.skip_existing,
        names_file=command.names_file,
    )
    check_videos(plan.tasks, options.options)
    if command.to == STANDARD_STREAM and options.options.render.has_report:
        fail("--masks and --faces write a file beside the result; name a file for it")
    if chosen is not None:
        if plan.tasks and not plan.has_videos:
            fail("--video-format: has no effect on photos")
        if any(task.is_video and task.result.suffix.lower() != suffix for task in plan.tasks):
            fail(f"--video-format: {chosen} does not match the suffix of {command.to}")
    return plan if command.server is None else without_videos(plan)


async def _segment_local(
    tasks: list[FileTask], options: CliOptions, settings: Settings, progress: RunProgress
) -> None:
    """Segments the photo files a few at a time, then the video files one by one."""
    photos = [task for task in tasks if not task.is_video]
    videos = [task for task in tasks if task.is_video]

    async def segment_photo(task: FileTask) -> Failure | None:
        return await runner.segment_photo(task, print_notice)

    async with open_runner(options, settings) as runner:
        if photos or not videos:
            with progress.photos(len(photos)) as on_done:
                await run_all(photos, segment_photo, runner.concurrency, on_done)
        for task in videos:
            with progress.video(task.source.name) as on_progress:
                progress.add(await runner.segment_video(task, on_progress, print_notice))


async def _segment_remote(
    tasks: list[FileTask],
    parameters: Mapping[str, str],
    background: Path | None,
    command: FileCommand,
    progress: RunProgress,
) -> None:
    from silhouette_seg.cli.remote import RemoteOptions, open_client, segment_remote
    from silhouette_seg.client import ClientError, Refused

    assert command.server is not None
    try:
        async with open_client(command.server, command.key) as client:
            with progress.photos(len(tasks)) as on_done:
                options = RemoteOptions(parameters, background)
                await segment_remote(tasks, options, client, on_done, print_notice)
    except Refused as error:
        is_key = error.code == "unauthorized"
        fail("--key: the service requires a valid key" if is_key else str(error))
    except ClientError as error:
        fail(str(error))


def _check_terminals(command: FileCommand) -> None:
    """Ends the command with an error if image bytes would come from or go to a terminal."""
    if STANDARD_STREAM in command.inputs and sys.stdin.isatty():
        fail("standard input is a terminal; name a photo, or pipe one into the command")
    if command.to == STANDARD_STREAM and sys.stdout.isatty():
        fail("standard output is a terminal; name a file, or redirect the output to one")


def _check_server(command: FileCommand) -> None:
    """Ends the command with an error for an option without effect on a service."""
    for option in ("device", "model_repository"):
        if command.server is not None and getattr(command, option) is not None:
            fail(f"--{option.replace('_', '-')}: has no effect with --server")


def _settings(command: FileCommand) -> Settings:
    device, repository = command.device, command.model_repository
    return load_settings(host=LOOPBACK, device=device, model_repository=repository)


def _background_file(given: dict[str, str]) -> Path | None:
    """Removes `background` from the parameters and returns it if it is the path of a file.

    Returns None, and leaves the parameters unchanged, if it is absent or a colour or blur, which
    have precedence over a file of that name. Any other text ends the command with an error.
    """
    text = given.get("background", "")
    try:
        if text:
            parse_value("background", text)
    except BadParameter as error:
        if not isfile(text):
            fail(f"{explain(error)}, and there is no file {text[:MAX_ECHOED_CHARACTERS]!r}")
        path = Path(given.pop("background"))
        _check_image(path)
        return path
    return None


def _check_image(path: Path) -> None:
    """Ends the command with an error for a background file that is not an image."""
    try:
        read_header(path.read_bytes())
    except ServiceError as error:
        fail(f"--background: {path}: {explain(error)}")
    except OSError as error:
        fail(f"--background: {path}: {error.strerror}")


def _parse_options(
    given: Mapping[str, str], to: Path, *, has_background_image: bool
) -> SegmentOptions:
    """Parses the parameters; the suffix of a picture file `to` sets the format."""
    by_suffix = result_format(to)
    implied = {} if by_suffix is None else {"format": by_suffix.value}
    try:
        options = parse_parameters({**implied, **given}, has_background_image=has_background_image)
    except ServiceError as error:
        fail(explain(error))
    if by_suffix not in (None, options.format):
        fail(f"--format: {options.format} does not match the suffix of {to}")
    return options


def _parse_smoothing(text: str | None) -> float:
    if text is None:
        return DEFAULT_SMOOTHING
    try:
        return float(str(STREAM_PARAMETERS["smoothing"].parse(text)))
    except ValueError as error:
        fail(f"--smoothing: {error}")
