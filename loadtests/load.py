"""What all users of one run share: where, when, what, and the record of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from time import perf_counter
from typing import Literal, TypeVar

import gevent
from locust import User

from loadtests.arrival import Arrivals, Stage, gaps, moments
from loadtests.asks import BATCHES, PHOTOS, Ask
from loadtests.record import Record
from loadtests.shapes import length_s

Loop = Arrivals | Literal["closed"]
"""How the moments of an open loop lie; in a closed one users wait for their answers."""

U = TypeVar("U", bound=User)

LEAD_S = 1.0
"""From the start of the users to the first moment of the load."""


@dataclass(slots=True)
class Load:
    url: str
    key: str | None
    loop: Loop
    stages: Sequence[Stage]
    seed: int
    batch_share: float
    """Of the requests."""
    fps: float
    """Of each stream."""
    record: Record = field(default_factory=Record)
    began: float = 0.0
    """Of perf_counter: moment 0."""
    visitors: Iterator[int] = field(default_factory=count)
    """Their numbers."""

    @property
    def seconds(self) -> float:
        return length_s(self.stages)

    @property
    def now_s(self) -> float:
        return perf_counter() - self.began

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Api-Key": self.key} if self.key else {}

    def start(self) -> None:
        """Moment 0 is when all users are there."""
        self.began = perf_counter() + LEAD_S

    def sleep_until(self, moment_s: float) -> None:
        """Lets the others run, also when the moment has passed."""
        gevent.sleep(max(0.0, moment_s - self.now_s))

    def due(self) -> Iterator[float]:
        """Moments of the requests of an open loop."""
        assert self.loop != "closed"
        return moments(self.stages, gaps(self.loop, self.seed))

    def every(self, gap_s: float) -> Iterator[float]:
        """Moments at equal distances to the end of the load."""
        return (number * gap_s for number in range(int(self.seconds / gap_s)))

    def asks(self, visitor: int = 0) -> Iterator[Ask]:
        """Endless, and the same for the same seed and visitor."""
        random = Random(f"{self.seed} {visitor}")
        while True:
            table = BATCHES if random.random() < self.batch_share else PHOTOS
            yield random.choices(list(table), list(table.values()))[0]


def bind(user: type[U], load: Load, *, fixed_count: int = 0) -> type[U]:
    """The users of one run: locust makes them itself, from a class and nothing more."""
    members = {"load": load, "host": load.url, "fixed_count": fixed_count, "abstract": False}
    return type(user.__name__, (user,), members)
