"""Reads image files that a caller names in different ways: by path, as bytes, or as open files."""

import io
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from silhouette_seg.errors import InvalidArgument

FileSource = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""Path of an image file, its bytes, or a binary file that is open."""


def is_file_source(source: object) -> bool:
    """Returns whether `read_file_source` can read an object, as far as its type tells."""
    is_data = isinstance(source, str | PathLike | bytes | bytearray | memoryview)
    return is_data or callable(getattr(source, "read", None))


def read_file_source(source: object, argument: str) -> bytes:
    """Returns the bytes of a FileSource; an open file is read from its position to its end.

    Raises InvalidArgument, with the name `argument`, for any other type. Raises OSError for a file
    that cannot be read.
    """
    match source:
        case bytes():
            return source
        case bytearray() | memoryview():
            return bytes(source)
        case str() | PathLike():
            return _read_path(source, argument)
    return _read_open_file(source, argument)


def source_name(source: object) -> str | None:
    """Returns the file name of a path or an open file; None without one."""
    path = getattr(source, "name", None) if not isinstance(source, str | PathLike) else source
    return Path(path).name if isinstance(path, str | PathLike) else None


def _read_open_file(source: object, argument: str) -> bytes:
    if isinstance(source, io.TextIOBase):
        raise InvalidArgument(argument, 'is open as text; open the file with the mode "rb"')
    if not is_file_source(source):
        kind = type(source).__name__
        raise InvalidArgument(argument, f"must be a path, bytes or an open file, not {kind}")
    data = source.read()  # type: ignore[attr-defined]  # checked by is_file_source
    if not isinstance(data, bytes):
        kind = type(data).__name__
        raise InvalidArgument(argument, f"must be a binary file; its read() returned {kind}")
    return data


def _read_path(path: str | PathLike[str], argument: str) -> bytes:
    text = str(path)
    if text.startswith(("http://", "https://", "data:")):
        raise InvalidArgument(argument, "is a URL, and nothing is fetched; pass the bytes")
    if not text or "\0" in text:
        raise InvalidArgument(argument, "is not the path of a file")
    return Path(path).read_bytes()
