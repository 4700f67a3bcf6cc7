"""Safe file names for results, derived from the unchecked file names of uploads."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import quote

MAX_STEM_CHARS = 100
"""Number of characters after which a file name without its suffix is cut."""

_SEPARATOR = re.compile(r"[/\\]")
_RESERVED = frozenset('"*:<>?|')


def unique_stems(filenames: Iterable[str]) -> list[str]:
    """Returns a name without suffix for each uploaded file name, in order.

    It is printable, has no folder, and differs from all others, also without regard to case.
    """
    names: list[str] = []
    used: set[str] = set()
    for number, filename in enumerate(filenames, 1):
        stem = _stem(filename) or f"image-{number}"
        name, copies = stem, 1
        while name.casefold() in used:
            copies += 1
            name = f"{stem}-{copies}"
        used.add(name.casefold())
        names.append(name)
    return names


def attachment(filename: str) -> str:
    """Returns a `Content-Disposition` header value that makes browsers save a file (RFC 6266).

    It is ASCII. The file name must come from `unique_stems`, because it is not escaped.
    """
    plain = "".join(char if char.isascii() else "_" for char in filename)
    value = f'attachment; filename="{plain}"'
    if plain != filename:
        value += f"; filename*=UTF-8''{quote(filename, safe='')}"
    return value


def _stem(filename: str) -> str:
    name = _SEPARATOR.split(filename)[-1]
    clean = "".join("_" if _is_unsafe(char) else char for char in name)
    return PurePosixPath(clean).stem.strip(". ")[:MAX_STEM_CHARS].rstrip(". ")


def _is_unsafe(char: str) -> bool:
    return char in _RESERVED or not char.isprintable()
