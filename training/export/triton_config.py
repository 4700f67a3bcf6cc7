"""Rewrites Triton's configurations of a repository from the specs of its models.

python -m training.export.triton_config model_repository
"""

from pathlib import Path
from typing import Annotated

import typer

from silhouette_seg.engine.triton.config_pbtxt import write_configs
from silhouette_seg.spec import SPEC_FILE, load_spec


def main(
    repository: Annotated[Path, typer.Argument(help="Folder of models, each with a spec.json.")],
) -> None:
    """Rewrites the configurations of every model from its spec."""
    for file in sorted(repository.glob(f"*/{SPEC_FILE}")):
        write_configs(load_spec(file.parent), file.parent)
        typer.echo(file.parent.name)


if __name__ == "__main__":
    typer.run(main)
