"""The command `silhouette i`: removes the background of one photo, as rembg's command does."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from silhouette_seg.cli.console import ModelRepositoryOption
from silhouette_seg.cli.files import STANDARD_STREAM
from silhouette_seg.cli.options import given_parameters, with_parameter_options
from silhouette_seg.cli.segment import (
    DeviceOption,
    FileCommand,
    KeyOption,
    ServerOption,
    run_command,
)
from silhouette_seg.pipeline.options import Output

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its columns cut the names of long options at 80 characters
)


@app.command()
@partial(with_parameter_options, defaults={"output": Output.CUTOUT})
def remove_background(
    photo: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Photo; - is standard input.")
    ] = STANDARD_STREAM,
    to: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT",
            help="File of the result, or a folder for it; - is standard output. The suffix .webp "
            "sets the format.",
        ),
    ] = STANDARD_STREAM,
    only_mask: Annotated[
        bool, typer.Option("--only-mask", "-om", help="Return the mask instead of a cut-out.")
    ] = False,
    server: ServerOption = None,
    key: KeyOption = None,
    device: DeviceOption = None,
    model_repository: ModelRepositoryOption = None,
    **parameters: str | bool | None,
) -> None:
    """Remove the background of one photo, as rembg's command `i` does."""
    output = Output.MASK if only_mask else Output.CUTOUT
    given = {"output": output.value} | given_parameters(parameters)
    command = FileCommand(
        [photo],
        to,
        server,
        key,
        device=device,
        model_repository=model_repository,
        names_file=True,
    )
    run_command(command, given)
