"""Calls a function for many photos, several at a time, and shows a progress bar."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar, overload

from silhouette_seg.errors import InvalidArgument, ServiceError

if TYPE_CHECKING:
    from concurrent.futures import Future

P = TypeVar("P")
R = TypeVar("R")

PhotoError = InvalidArgument | ServiceError | OSError
"""Errors of one photo: it cannot be used, a model fails, or its file cannot be read."""


@overload
def map_photos(
    function: Callable[[P], R],
    photos: Iterable[P],
    *,
    threads: int | None = None,
    progress: bool = False,
    return_errors: Literal[False] = False,
) -> Iterator[R]: ...
@overload
def map_photos(
    function: Callable[[P], R],
    photos: Iterable[P],
    *,
    threads: int | None = None,
    progress: bool = False,
    return_errors: Literal[True],
) -> Iterator[R | PhotoError]: ...
def map_photos(
    function: Callable[[P], R],
    photos: Iterable[P],
    *,
    threads: int | None = None,
    progress: bool = False,
    return_errors: bool = False,
) -> Iterator[R | PhotoError]:
    """Yields the result of `function` for each photo, in order.

    `function` is `segment`, `cut_out`, `composite`, or any other of one photo. `threads` photos are
    processed at a time, by default one for each processor. At most twice as many photos and results
    are in memory. With `progress` a bar on stderr shows their number. The error of a photo is
    raised, and ends the iteration. With `return_errors` it takes the place of its result instead.
    Raises InvalidArgument for a number of threads below 1, and for one photo instead of several.
    """
    from silhouette_seg.runtime.cpu_quota import available_cpus

    if isinstance(photos, str | bytes | bytearray):
        raise InvalidArgument("photos", "must be several photos, such as a list, not one")
    count = available_cpus() if threads is None else threads
    if count < 1:
        raise InvalidArgument("threads", f"must be at least 1, not {threads}")
    total = len(photos) if isinstance(photos, Sized) else None
    bar = _progress_bar(total) if progress else nullcontext(_ignore)
    return _results(function, iter(photos), count, bar, return_errors=return_errors)


def _results(
    function: Callable[[P], R],
    photos: Iterator[P],
    threads: int,
    bar: AbstractContextManager[Callable[[], None]],
    *,
    return_errors: bool,
) -> Iterator[R | PhotoError]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads, thread_name_prefix="photos") as pool, bar as advance:
        pending = deque(pool.submit(function, photo) for photo in islice(photos, 2 * threads))
        try:
            while pending:
                outcome = _outcome(pending.popleft(), return_errors=return_errors)
                advance()
                pending.extend(pool.submit(function, photo) for photo in islice(photos, 1))
                yield outcome
        finally:
            for future in pending:
                future.cancel()


def _outcome(future: "Future[R]", *, return_errors: bool) -> R | PhotoError:
    try:
        return future.result()
    except (InvalidArgument, ServiceError, OSError) as error:
        if return_errors:
            return error
        raise


def _ignore() -> None:
    """Shows nothing."""


@contextmanager
def _progress_bar(total: int | None) -> Iterator[Callable[[], None]]:
    """Shows a bar on stderr, and yields the function that advances it by one photo."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=total)
        yield lambda: progress.advance(bar)
