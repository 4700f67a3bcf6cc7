"""Entry point of `python -m silhouette_seg`, the same as the `silhouette` command."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> None:
    """Runs the `silhouette` command with the arguments of the process.

    SIGTERM ends `silhouette serve` with code 0 from here on: the imports take most of its start. If
    a package that the command imports is not installed, it exits with a message. The message names
    the pip command that installs it.
    """
    if sys.argv[1:2] == ["serve"]:
        signal.signal(signal.SIGTERM, _exit_zero)
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


def _exit_zero(number: int, frame: FrameType | None) -> NoReturn:
    """Ends the process at once with code 0, because a requested stop is no failure.

    uvicorn raises the signal again after its shutdown. SystemExit would not do: in the middle of an
    import, pybind11 turns it into ImportError.
    """
    os._exit(0)


if __name__ == "__main__":
    main()
