"""Finds the photos and videos among and below the inputs of a command, each one once."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from silhouette_seg.cli.files import STANDARD_STREAM
from silhouette_seg.cli.media_kind import (
    MediaKind,
    excluded_by_content,
    excluded_by_name,
    media_kind,
)
from silhouette_seg.cli.outcome import Failure, SkippedFile


@dataclass(frozen=True, slots=True)
class InputFile:
    """A photo or video to segment, and its place in the input folder."""

    source: Path
    relative: Path
    """Path below the input folder; for a file that is itself an input, its name."""
    folder: str
    """Name of the input folder, or of the folder of a file that is itself an input."""
    kind: MediaKind


@dataclass(frozen=True, slots=True)
class Discovery:
    """Files among and below the inputs: those to segment, those left out and those that fail."""

    files: list[InputFile] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def discover(inputs: Sequence[Path], output: Path) -> Discovery:
    """Returns the photos and videos among and below `inputs`; in a folder, ordered by path.

    Links are followed, and each folder is searched once. Files in the folder `output` are left out
    if that is inside an input folder, however the paths are spelled. A file that is itself an input
    and of unknown content is taken for a photo; in a folder such files are left out.
    """
    search = _Search(output.resolve())
    for path in inputs:
        if path == STANDARD_STREAM:
            search.found.files.append(InputFile(path, Path("stdin"), "", MediaKind.PHOTO))
        elif path.is_dir():
            search.add_folder(_Root(path, path.resolve()))
        else:
            search.add_input_file(path)
    return search.found


@dataclass(frozen=True, slots=True)
class _Root:
    """An input folder."""

    path: Path
    real: Path
    """Absolute path without links."""


class _Search:
    """Search through all inputs of one command. It remembers the files and folders it has met."""

    def __init__(self, output: Path) -> None:
        self.found = Discovery()
        self._output = output
        self._folders: set[Path] = set()
        self._files: set[Path] = set()

    def add_input_file(self, path: Path) -> None:
        """Adds a file that is itself an input."""
        if not path.is_file():
            reason = "This is not a file." if path.exists() else "The file does not exist."
            self.found.failures.append(Failure(path, reason))
        elif self._is_new(path):
            name = path.parent.resolve().name
            self._classify(path, Path(path.name), name, unknown=MediaKind.PHOTO)

    def add_folder(self, root: _Root) -> None:
        """Adds the files below an input folder.

        Links to folders are followed last, so that the files of a folder get its own path.
        """
        first = len(self.found.files)
        folders, links = deque([root.path]), deque[Path]()
        while folders or links:
            folder = folders.popleft() if folders else links.popleft()
            for entry in self._enter(folder, root):
                if kind := excluded_by_name(entry):
                    self._skip(entry, kind)
                elif entry.is_dir():
                    (links if entry.is_symlink() else folders).append(entry)
                else:
                    self._add_entry(entry, root)
        self.found.files[first:] = sorted(self.found.files[first:], key=lambda file: file.source)

    def _enter(self, folder: Path, root: _Root) -> list[Path]:
        """Returns the entries of a folder, or none if it was met before or has the results."""
        real = folder.resolve()
        if self._has_results(real, root):
            for path in real.rglob("*"):
                if path.is_file():
                    self._skip(path, "in the output folder")
            return []
        if real in self._folders:
            self._skip(folder, "folder searched before")
            return []
        self._folders.add(real)
        try:
            return sorted(folder.iterdir())
        except OSError as error:
            self.found.failures.append(Failure(folder, error.strerror or str(error)))
            return []

    def _has_results(self, real: Path, root: _Root) -> bool:
        """Returns whether a file or folder met below `root` is in the output folder.

        The output folder may also contain the input folder, whose files are no results then.
        """
        if not real.is_relative_to(self._output):
            return False
        return not (root.real.is_relative_to(self._output) and real.is_relative_to(root.real))

    def _add_entry(self, entry: Path, root: _Root) -> None:
        if not entry.exists():
            self._skip(entry, "broken link")
        elif not entry.is_file():
            self._skip(entry, "special file")
        elif entry.is_symlink() and self._has_results(entry.resolve(), root):
            self._skip(entry, "in the output folder")
        elif self._is_new(entry):
            self._classify(entry, entry.relative_to(root.path), root.real.name, unknown=None)

    def _is_new(self, path: Path) -> bool:
        """Returns whether a file was not met before. Two links to one file are two files."""
        real = path.parent.resolve() / path.name
        if real in self._files:
            self._skip(path, "file given twice")
            return False
        self._files.add(real)
        return True

    def _classify(
        self, path: Path, relative: Path, folder: str, *, unknown: MediaKind | None
    ) -> None:
        """Adds a file by its kind, or by `unknown` if its content is unknown."""
        try:
            excluded = excluded_by_name(path) or excluded_by_content(path)
            kind = None if excluded else media_kind(path) or unknown
        except OSError as error:
            self.found.failures.append(Failure(path, error.strerror or str(error)))
            return
        if kind is None:
            self._skip(path, excluded or path.suffix.lower() or "no suffix")
        else:
            self.found.files.append(InputFile(path, relative, folder, kind))

    def _skip(self, path: Path, kind: str) -> None:
        self.found.skipped.append(SkippedFile(path, kind))
