"""Whose turn it is: photos wait undecoded, few are in work, and none comes that waits too long."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter

from silhouette_seg.errors import Overloaded

FIXED_PIXELS = 6_000_000
"""What a photo costs however small it is, as if it were so many pixels larger: about what the
models and outputs cost on a CPU, whose differences the kinds of work tell."""
FIRST_GUESS_S = 0.1
"""A turn of `FIXED_PIXELS`, while none of its kind has ended."""
LEARNING = 0.2
"""How much the newest turn counts."""
MISTAKEN = 2.0
"""How many times the longest wait a photo stays that was let in by mistake: having waited so long,
it is more use answered late than refused late."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a turn is for. Turns of one kind take about as long for each pixel."""

    kind: Hashable
    pixels: int


class Pace:
    """Seconds that a turn takes, foretold by those before it."""

    def __init__(self) -> None:
        self._rates: dict[Hashable, float] = {}

    def predict(self, work: Work) -> float:
        return self._rates.get(work.kind, FIRST_GUESS_S / FIXED_PIXELS) * _size(work)

    def learn(self, work: Work, seconds: float) -> None:
        newest = seconds / _size(work)
        before = self._rates.get(work.kind, newest)
        self._rates[work.kind] = before + LEARNING * (newest - before)


def _size(work: Work) -> int:
    return work.pixels + FIXED_PIXELS


@dataclass(eq=False, slots=True)
class _Entry:
    work: Work
    came: float
    turn: asyncio.Event = field(default_factory=asyncio.Event)
    began: float = 0.0


class Turns:
    """At most `at_once` photos, of `max_pixels` together, are in work; the others wait in order.

    A photo larger than that has its turn alone. Belongs to one event loop.
    """

    def __init__(
        self, *, at_once: int, max_pixels: int, max_waiting: int, max_wait_s: float
    ) -> None:
        self._at_once = at_once
        self._max_pixels = max_pixels
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._pace = Pace()
        self._line: deque[_Entry] = deque()
        self._working: set[_Entry] = set()

    @property
    def waiting(self) -> int:
        """Photos in line."""
        return len(self._line)

    @property
    def working(self) -> int:
        """Photos in work."""
        return len(self._working)

    @property
    def pixels(self) -> int:
        """Of the photos in work."""
        return sum(entry.work.pixels for entry in self._working)

    @property
    def wait_s(self) -> float:
        """How long one that came now would wait for its turn, as far as can be foretold."""
        if not self._line and len(self._working) < self._at_once:
            return 0.0
        now = perf_counter()
        ahead = sum(self._pace.predict(entry.work) for entry in self._line)
        begun = sum(
            max(0.0, self._pace.predict(entry.work) - (now - entry.began))
            for entry in self._working
        )
        return (ahead + begun) / self._at_once

    def check(self) -> None:
        """Raises errors.Overloaded, which says when to come again, where the line is too long.

        What a photo waits is up to those before it: nothing of it has to be known.
        """
        wait_s = self.wait_s
        if wait_s > self._max_wait_s:
            raise Overloaded(
                "The photo would wait too long for its turn",
                limit=self._max_wait_s,
                actual=ceil(wait_s * 1000) / 1000,  # up: it is never told as the limit itself
                retry_after_s=ceil(wait_s),
            )
        if len(self._line) >= self._max_waiting:
            raise Overloaded(
                "Too many photos are waiting",
                limit=self._max_waiting,
                actual=len(self._line) + 1,
                retry_after_s=max(1, ceil(wait_s)),
            )

    @asynccontextmanager
    async def take(self, work: Work, *, patient: bool = False) -> AsyncIterator[float]:
        """Waits for a turn and holds it; gives the seconds that were waited.

        Raises as `check` does, and errors.Overloaded when the wait became too long all the same.
        The `patient` wait however long it takes, which is then for the caller to bound.
        """
        if not patient:
            self.check()
        entry = _Entry(work, came=perf_counter())
        self._line.append(entry)
        self._advance()
        try:
            await self._called(entry, None if patient else MISTAKEN * self._max_wait_s)
            yield entry.began - entry.came
            self._pace.learn(work, perf_counter() - entry.began)
        finally:
            self._forget(entry)
            self._advance()

    async def _called(self, entry: _Entry, timeout_s: float | None) -> None:
        if entry.turn.is_set():
            return
        try:
            async with asyncio.timeout(timeout_s):
                await entry.turn.wait()
        except TimeoutError:
            raise Overloaded(
                "The photo waited too long for its turn",
                limit=timeout_s,
                retry_after_s=max(1, ceil(self.wait_s)),
            ) from None

    def _advance(self) -> None:
        """Calls those whose turn it is."""
        while self._line and self._has_room(self._line[0].work):
            entry = self._line.popleft()
            self._working.add(entry)
            entry.began = perf_counter()
            entry.turn.set()

    def _has_room(self, work: Work) -> bool:
        if not self._working:
            return True
        return len(self._working) < self._at_once and self.pixels + work.pixels <= self._max_pixels

    def _forget(self, entry: _Entry) -> None:
        if entry in self._working:
            self._working.remove(entry)
        else:
            self._line.remove(entry)
