"""Entry point of `python -m silhouette_seg`, the same as the `silhouette` command."""

import sys


def main() -> None:
    """Runs the `silhouette` command with the arguments of the process.

    If a package that the command imports is not installed, it exits with a message. The message
    names the pip command that installs it.
    """
    try:
        from silhouette_seg.cli.main import main as run

        run()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("silhouette_seg"):
            raise
        sys.exit(
            f"The silhouette command needs {error.name}, which is not installed."
            " Run pip install 'silhouette-seg[cpu]' or pip install 'silhouette-seg[gpu]'."
        )


if __name__ == "__main__":
    main()
