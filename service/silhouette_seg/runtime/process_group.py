"""The processes of one server, and the memory that they share.

A server forks its processes after it has built the service. Each process writes numbers into its
own row of shared tables, and reads the rows of all. A process that is killed cannot damage the row
of another, and the kernel releases its lock.
"""

import asyncio
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

try:
    import fcntl
except ImportError:  # Windows, where a server has one process
    fcntl = None  # type: ignore[assignment]


REQUESTS = "requests"
"""Name of the table with the number of requests in work in each process."""


@dataclass(slots=True)
class _Shared:
    """Tables, lock and pipes of a group, which every process inherits."""

    tables: dict[str, NDArray[Any]] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    lock_file: IO[bytes] | None = None
    pipes: list[tuple[int, int]] = field(default_factory=list)


class ProcessGroup:
    """The processes of one server, numbered from 0 to `count` - 1, as one of them sees it.

    An instance is not thread-safe: it belongs to one event loop.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.index = 0
        """Number of this process."""
        self.restarted = False
        """True if this process replaces one that died."""
        self._shared = _Shared()
        self._depth = 0
        self._callbacks: list[Callable[[], object]] = []
        if count > 1:
            self._shared.lock_file = TemporaryFile()  # noqa: SIM115  # open for the whole life
            self._shared.pipes = [os.pipe() for _ in range(count)]
            for pipe in self._shared.pipes:
                for end in pipe:
                    os.set_blocking(end, False)

    def member(self, index: int) -> "ProcessGroup":
        """Returns the group as the process with this number sees it."""
        member = ProcessGroup()
        member.count, member.index, member._shared = self.count, index, self._shared
        return member

    def close(self) -> None:
        """Closes the lock and the pipes; the group must not be used any more."""
        if self._shared.lock_file is not None:
            self._shared.lock_file.close()
        for pipe in self._shared.pipes:
            for end in pipe:
                os.close(end)

    def own_id(self, id: str) -> str:
        """Returns an id that names this process, unless it is the only one."""
        return f"{self.index}.{id}" if self.count > 1 else id

    def owner_of(self, id: str) -> int | None:
        """Returns the number of the process that an id of `own_id` names; None if it names none."""
        number = id.partition(".")[0]
        indices = {str(index): index for index in range(self.count)}
        return indices.get(number) if self.count > 1 else None

    def join(self, index: int, *, restarted: bool) -> None:
        """Makes this process, which was just forked, the one with this number."""
        self.index, self.restarted = index, restarted

    def table(self, name: str, dtype: DTypeLike, *, kept: bool = False) -> NDArray[Any]:
        """Returns the shared table of that name: a row of `dtype` for each process, zero at first.

        A row becomes zero again when its process dies, unless the table is `kept`.
        """
        tables = self._shared.tables
        if name not in tables:
            row = np.dtype(dtype)
            memory = mmap.mmap(-1, max(1, self.count * row.itemsize))
            tables[name] = np.frombuffer(memory, row, self.count)
            if kept:
                self._shared.kept.add(name)
        return tables[name]

    def counter(self, name: str) -> "SharedCounter":
        """Returns the shared counter of that name."""
        return SharedCounter(self.table(name, np.int64), self)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps the other processes out of their own such blocks until this one ends.

        Blocks may be nested. They must be short, because they hold up the other event loops.
        """
        if self._shared.lock_file is None or self._depth:
            yield
            return
        fcntl.lockf(self._shared.lock_file, fcntl.LOCK_EX)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            fcntl.lockf(self._shared.lock_file, fcntl.LOCK_UN)

    def forget(self, index: int) -> None:
        """Sets the rows of a process that has died to zero, and wakes the others."""
        with self.lock():
            for name, table in self._shared.tables.items():
                if name not in self._shared.kept:
                    table[index] = np.zeros((), table.dtype)
        for other in range(self.count):
            self.wake(other)

    def wake(self, index: int) -> None:
        """Makes the process with this number call the functions given to `on_wake`."""
        if self._shared.pipes:
            # A full pipe has woken the process already.
            with suppress(BlockingIOError):
                os.write(self._shared.pipes[index][1], b"\0")

    def on_wake(self, callback: Callable[[], object]) -> None:
        """Adds a function that this process calls when another wakes it, while it listens."""
        self._callbacks.append(callback)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Lets other processes wake this one, on the running event loop, until the block ends."""
        if not self._shared.pipes:
            yield
            return
        loop = asyncio.get_running_loop()
        reader = self._shared.pipes[self.index][0]
        loop.add_reader(reader, self._on_wake, reader)
        try:
            yield
        finally:
            loop.remove_reader(reader)

    def _on_wake(self, reader: int) -> None:
        with suppress(BlockingIOError):
            os.read(reader, mmap.PAGESIZE)
        for callback in self._callbacks:
            callback()


class SharedCounter:
    """A whole number of each process of a group, and their total."""

    def __init__(self, cells: NDArray[np.int64], group: ProcessGroup) -> None:
        self._cells = cells
        self._group = group

    @property
    def own(self) -> int:
        """The number of this process."""
        return int(self._cells[self._group.index])

    @property
    def total(self) -> int:
        """The sum of the numbers of all processes."""
        return int(self._cells.sum())

    def set(self, number: int) -> None:
        """Sets the number of this process."""
        self._cells[self._group.index] = number

    def add(self, amount: int) -> None:
        """Adds to the number of this process."""
        self._cells[self._group.index] += amount
