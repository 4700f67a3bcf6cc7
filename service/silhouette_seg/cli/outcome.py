"""Outcomes of files that got no result."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Failure:
    """Path of a file that got no result, and the reason."""

    source: Path
    reason: str
    """Reason as a sentence for the user."""


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """Path of a file or folder that was left out, and its kind."""

    source: Path
    kind: str
    """Kind for the summary, such as `.txt` or `empty file`."""


def count_kinds(skipped: Iterable[SkippedFile]) -> str:
    """Returns the number of files of each kind as text, such as `.txt (3), empty file (1)`.

    The most frequent kind is first.
    """
    counts = Counter(one.kind for one in skipped)
    return ", ".join(f"{kind} ({count})" for kind, count in counts.most_common())
