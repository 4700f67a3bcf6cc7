"""Command-line options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DataPack = Annotated[Path, typer.Option(help="Folder of the data pack.")]
Repository = Annotated[Path, typer.Option(help="Folder of exported models.")]

DEFAULT_REPOSITORY = Path("model_repository")
"""Folder of exported models, relative to the working directory."""
