"""Reads sources and writes results: files, or the standard streams."""

import sys
from pathlib import Path

STANDARD_STREAM = Path("-")
"""Path that stands for standard input as a source, and for standard output as a result."""


class CannotWrite(OSError):
    """A result cannot be written; the message names its path and the reason."""


def read_source(path: Path) -> bytes:
    """Returns the bytes of a source. Raises OSError if it cannot be read."""
    return sys.stdin.buffer.read() if path == STANDARD_STREAM else path.read_bytes()


def write_result(path: Path, body: bytes) -> None:
    """Writes the bytes `body` to a file, completely or not at all, or to standard output.

    The folders of the file are created. Raises CannotWrite, for example if the disk is full.
    """
    try:
        if path == STANDARD_STREAM:
            sys.stdout.buffer.write(body)
            sys.stdout.buffer.flush()
        else:
            _write_atomically(path, body)
    except OSError as error:
        name = "standard output" if path == STANDARD_STREAM else path
        raise CannotWrite(f"{name} cannot be written: {error.strerror}.") from error


def report_path(result: Path) -> Path:
    """Returns the path of the JSON file with the facts about a photo, beside its result."""
    return result.with_name(f"{result.name}.json")


def is_written(result: Path) -> bool:
    """Returns whether a result exists. Results are written completely or not at all.

    An empty file or folder is no result.
    """
    if result.is_dir():
        return any(result.iterdir())
    return result.is_file() and result.stat().st_size > 0


def _write_atomically(path: Path, body: bytes) -> None:
    partial = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial.write_bytes(body)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
