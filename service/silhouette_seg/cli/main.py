"""The `silhouette` command: serves over HTTP, segments files, lists models.

Commands import the service when they run, so that `--help` and `--version` are fast.
"""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import silhouette_seg

app = typer.Typer(
    name="silhouette",
    help="Portrait segmentation: photos in; masks, cut-outs and composites out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Runs the `silhouette` command with the arguments of the process."""
    app()


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"silhouette {silhouette_seg.__version__}")
        raise typer.Exit


@app.callback()
def group(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Declares the options of `silhouette` itself, such as `--version`."""


def _loaded_from(module: str) -> type[TyperCommand]:
    """Returns the class of a placeholder in the list of commands.

    It loads the real command, the `app` of `module`, when that is used. The options of that command
    come from the parameters of the API, which take long to import.
    """

    class LazyCommand(TyperCommand):
        def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as click's
            command = typer.main.get_command(import_module(module).app)
            return command.make_context(*args, **kwargs)

    return LazyCommand


@app.command(cls=_loaded_from("silhouette_seg.cli.segment"))
def segment() -> None:
    """Segment photos and videos."""


@app.command(cls=_loaded_from("silhouette_seg.cli.rembg"))
def i() -> None:
    """Remove the background of one photo, as rembg's command `i` does."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind; 0 picks a free one.")] = None,
    processes: Annotated[int | None, typer.Option(help="Server processes behind the port.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads for pixels and inference.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, tensorrt, coreml, directml or rocm.")
    ] = None,
    model_repository: Annotated[Path | None, typer.Option(help="Folder of models.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
) -> None:
    """Serve over HTTP. Every setting is also a SILHOUETTE_ variable; options take precedence."""
    from silhouette_seg.cli.console import fail, load_settings
    from silhouette_seg.errors import ServiceError
    from silhouette_seg.server.serve import serve as run_server
    from silhouette_seg.server.server import CannotListen

    settings = load_settings(
        host=host,
        port=port,
        processes=processes,
        workers=workers,
        device=device,
        model_repository=model_repository,
        log_format=log_format,
    )
    try:
        run_server(settings)
    except (CannotListen, ServiceError, ValueError, OSError) as error:
        fail(str(error))


@app.command(cls=_loaded_from("silhouette_seg.cli.models"))
def models() -> None:
    """List the models of the repository, import others, and check them."""
