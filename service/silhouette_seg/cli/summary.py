"""Prints the plan and the outcome of a command that processes files."""

from pathlib import Path

import typer

from silhouette_seg.cli.console import err, out, print_line
from silhouette_seg.cli.files import STANDARD_STREAM
from silhouette_seg.cli.outcome import count_kinds
from silhouette_seg.cli.progress import RunProgress
from silhouette_seg.cli.tasks import RESULT_EXISTS, Plan


def print_renamed(plan: Plan) -> None:
    """Prints to stderr each result with a longer name, because inputs share the usual one."""
    for task in plan.renamed:
        line = f"{task.source}: the result is {task.result.name}, as another input has its name"
        print_line(err, line)


def print_notice(source: Path, notice: str) -> None:
    """Prints to stderr a sentence about a file that is processed."""
    print_line(err, f"{_shown(source)}: {notice}")


def print_summary(plan: Plan, progress: RunProgress, to: Path) -> None:
    """Prints each failure to stderr, and to stdout the number of results and of skipped files.

    The numbers go to stderr if the result goes to stdout.
    """
    console = err if to == STANDARD_STREAM else out
    order = {task.source: number for number, task in enumerate(plan.tasks)}
    failures = sorted(progress.failures, key=lambda failure: order[failure.source])
    for failure in plan.failures + failures:
        print_line(err, f"{_shown(failure.source)}: {failure.reason}")
    total = len(plan.tasks) + len(plan.failures)
    done = progress.ended - len(progress.failures)
    noun = "files" if plan.has_videos else "photos"
    place = "to standard output" if to == STANDARD_STREAM else f"in {to}"
    print_line(console, f"{done} of {total} {noun} done, {place}")
    if plan.skipped:
        print_line(console, f"{len(plan.skipped)} skipped: {count_kinds(plan.skipped)}")


def check_success(plan: Plan, progress: RunProgress) -> None:
    """Exits with code 1 if a file failed, or if there was no file to process.

    A file that already has its result counts as processed.
    """
    has_results = bool(plan.tasks) or any(one.kind == RESULT_EXISTS for one in plan.skipped)
    if plan.failures or progress.failures or not has_results:
        raise typer.Exit(1)


def _shown(source: Path) -> str:
    return "standard input" if source == STANDARD_STREAM else str(source)
