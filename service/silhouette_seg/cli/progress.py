"""Progress bars on stderr, and the failures of the files that have ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from silhouette_seg.cli.console import err
from silhouette_seg.cli.outcome import Failure

OnDone = Callable[[Failure | None], None]
"""Function that receives the outcome of each file as it ends: None, or its failure."""
OnNotice = Callable[[Path, str], None]
"""Function that receives the path of a file and a sentence about it, besides its outcome."""
OnVideoProgress = Callable[[float, float | None], None]
"""Function that receives the processed and the total seconds of a video; None: total unknown."""


class RunProgress:
    """Progress of one command: the number of files that have ended, and their failures."""

    def __init__(self) -> None:
        self.ended = 0
        self.failures: list[Failure] = []

    def add(self, failure: Failure | None) -> None:
        """Counts a file that has ended, with its failure or None."""
        self.ended += 1
        if failure is not None:
            self.failures.append(failure)

    @contextmanager
    def photos(self, total: int) -> Iterator[OnDone]:
        """Shows a bar for `total` photos, and yields the function that receives their outcomes."""
        columns = (TextColumn("segmenting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err) as progress:
            bar = progress.add_task("", total=total)

            def on_done(failure: Failure | None) -> None:
                self.add(failure)
                progress.advance(bar)

            yield on_done

    @contextmanager
    def video(self, name: str) -> Iterator[OnVideoProgress]:
        """Shows a bar for one video, and yields the function that moves it."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err) as progress:
            bar = progress.add_task(name, total=None)
            failures = len(self.failures)

            def on_progress(done_s: float, total_s: float | None) -> None:
                progress.update(bar, completed=done_s, total=total_s)

            yield on_progress
            if len(self.failures) == failures:
                progress.update(bar, completed=1, total=1)
