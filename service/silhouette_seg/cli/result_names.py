"""Names the results of input files, so that no two inputs share a result."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from silhouette_seg.cli.discovery import InputFile

Naming = Callable[[InputFile, str], Path]
"""Function from an input file and the suffix of its result to the path of the result."""


def usual_name(file: InputFile, suffix: str) -> Path:
    """Returns the relative path of a result: `sub/a.png` for `sub/a.jpg`."""
    return file.relative.with_suffix(suffix)


def _with_source_suffix(file: InputFile, suffix: str) -> Path:
    return file.relative.with_name(file.relative.name + suffix)


def _with_source_folder(file: InputFile, suffix: str) -> Path:
    return file.folder / _with_source_suffix(file, suffix)


NAMINGS: tuple[Naming, ...] = (usual_name, _with_source_suffix, _with_source_folder)
"""Namings in the order of preference: `a.png`, `a.jpg.png` and `album/a.jpg.png`."""


def name_results(files: Sequence[tuple[InputFile, str]]) -> list[Path | None]:
    """Returns the relative path of the result of each file, in order; no two are equal.

    `files` are input files with the suffixes of their results. Files that share a name all get the
    next longer one. The result is None for a file that shares even the longest.
    """
    names: list[Path | None] = [None] * len(files)
    taken: set[Path] = set()
    for naming in NAMINGS:
        candidates = {
            index: naming(*file) for index, file in enumerate(files) if names[index] is None
        }
        counts = Counter(candidates.values())
        for index, name in candidates.items():
            if counts[name] == 1 and name not in taken:
                names[index] = name
        taken.update(name for name in names if name is not None)
    return names
