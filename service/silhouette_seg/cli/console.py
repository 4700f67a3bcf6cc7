"""Console output and the loading of settings, shared by all commands."""

from collections.abc import Container
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from silhouette_seg.settings import PREFIX, Settings

out = Console()
err = Console(stderr=True)


def print_line(console: Console, line: str) -> None:
    """Prints a line unchanged: rich neither reads markup in file names nor wraps them.

    Bytes of a file name that are not UTF-8 are printed as escapes.
    """
    printable = line.encode(errors="backslashreplace").decode()
    console.print(printable, markup=False, highlight=False, soft_wrap=True)


def fail(*lines: str) -> NoReturn:
    """Prints each line to stderr after `error: `, and exits the command with code 1."""
    for line in lines:
        print_line(err, f"error: {line}")
    raise typer.Exit(1)


LOOPBACK = "127.0.0.1"
"""Setting `host` of commands that bind no address.

The image sets an address that requires keys of a server.
"""


def load_settings(**options: object) -> Settings:
    """Returns the settings from the environment; `options` that are not None take precedence.

    An invalid value ends the command with error messages and code 1.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        fail(*(_describe(item["loc"], item["msg"], given) for item in error.errors()))


ModelRepositoryOption = Annotated[Path | None, typer.Option(help="Folder of models.")]
"""Option `--model-repository` of the commands that read models; None: the setting of that name."""


def load_repository(model_repository: Path | None) -> Path:
    """Returns the folder of an option, or that of the setting `model_repository`."""
    return model_repository or load_settings(host=LOOPBACK).model_repository


def _describe(place: tuple[int | str, ...], message: str, given: Container[str]) -> str:
    """Returns the message of an invalid setting, after the option or variable that set it."""
    message = message.removeprefix("Value error, ")  # pydantic's prefix of our own messages
    if not place:
        return message
    name = str(place[0])
    option, variable = f"--{name.replace('_', '-')}", f"{PREFIX}{name.upper()}"
    return f"{option if name in given else variable}: {message}"
