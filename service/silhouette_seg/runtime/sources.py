"""Reads image files that a caller names in different ways: by path, as bytes, or as open files."""

import io
from collections.abc import Callable
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


def read_file_source(source: object, argument: str, max_bytes: int | None = None) -> bytes:
    """Returns the bytes of a FileSource; an open file is read from its position to its end.

    Raises InvalidArgument, with the name `argument`, for any other type and for a file of more than
    `max_bytes`, which is not read whole. Raises OSError for a file that cannot be read.
    """
    match source:
        case bytes():
            return source
        case bytearray() | memoryview():
            return bytes(source)
        case str() | PathLike():
            with _open_path(source, argument) as file:
                return _read_open_file(file, argument, max_bytes)
    return _read_open_file(source, argument, max_bytes)


def source_name(source: object) -> str | None:
    """Returns the file name of a path or an open file; None without one."""
    path = getattr(source, "name", None) if not isinstance(source, str | PathLike) else source
    return Path(path).name if isinstance(path, str | PathLike) else None


def _read_open_file(source: object, argument: str, max_bytes: int | None) -> bytes:
    if isinstance(source, io.TextIOBase):
        raise InvalidArgument(argument, 'is open as text; open the file with the mode "rb"')
    if not is_file_source(source):
        kind = type(source).__name__
        raise InvalidArgument(argument, f"must be a path, bytes or an open file, not {kind}")
    read: Callable[..., object] = source.read  # type: ignore[attr-defined]  # is_file_source
    chunks: list[bytes] = []
    # A file without a buffer, such as a pipe, returns less than it is asked for.
    while chunk := read() if max_bytes is None else read(max_bytes + 1 - sum(map(len, chunks))):
        if not isinstance(chunk, bytes):
            kind = type(chunk).__name__
            raise InvalidArgument(argument, f"must be a binary file; its read() returned {kind}")
        chunks.append(chunk)
    data = b"".join(chunks)
    if max_bytes is not None and len(data) > max_bytes:
        reason = f"has more than {max_bytes} bytes"
        raise InvalidArgument(argument, reason, "body_too_large", max_bytes)
    return data


def _open_path(path: str | PathLike[str], argument: str) -> BinaryIO:
    text = str(path)
    if text.startswith(("http://", "https://", "data:")):
        raise InvalidArgument(argument, "is a URL, and nothing is fetched; pass the bytes")
    if not text or "\0" in text:
        raise InvalidArgument(argument, "is not the path of a file")
    return Path(path).open("rb")
