"""Outcomes of files, and sentences about them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from silhouette_seg.cli.options import spell_option
from silhouette_seg.errors import ServiceError, with_limit


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


def explain(error: ServiceError) -> str:
    """Returns the sentence of an error, with the options of the command line and the limit."""
    return with_limit(error.spelled(spell_option), error.limit, error.actual)


def notices(warning: str | None, blurred_faces: int | None) -> list[str]:
    """Returns the sentences to print about a photo that was segmented.

    `warning` is a fault of its file that costs no pixel, or None. `blurred_faces` is the number of
    faces that were blurred; None if none were to be blurred.
    """
    found = [] if warning is None else [warning]
    if blurred_faces == 0:
        found.append("no face was found, so none is blurred")
    elif blurred_faces is not None:
        faces = "1 face was" if blurred_faces == 1 else f"{blurred_faces} faces were"
        found.append(f"{faces} found and blurred")
    return found
