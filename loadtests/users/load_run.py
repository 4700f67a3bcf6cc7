"""State that all users of one run share: target, phases, clock, request sequence and record."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from time import perf_counter
from typing import Literal, TypeVar

import gevent
from locust import User

from loadtests.measurement.record import RunRecord
from loadtests.scenario.arrival import ArrivalProcess, Phase, arrival_times, interarrival_times
from loadtests.scenario.request_mix import BATCH_WEIGHTS, PHOTO_WEIGHTS, ImageRequest
from loadtests.scenario.shapes import total_s

LoopType = ArrivalProcess | Literal["closed"]
"""Arrival process of an open loop, or a closed loop of users that wait for their responses."""

U = TypeVar("U", bound=User)

START_DELAY_S = 1.0
"""Time from the start of the users to time 0 of the load."""


@dataclass(slots=True)
class LoadRun:
    """One run of a load against a server."""

    url: str
    key: str | None
    loop: LoopType
    phases: Sequence[Phase]
    seed: int
    batch_share: float
    """Share of batches among the requests, 0..1."""
    fps: float
    """Frames per second of each stream."""
    record: RunRecord = field(default_factory=RunRecord)
    start_time_s: float = 0.0
    """Time 0 of the load, on the clock of `perf_counter`."""
    user_numbers: Iterator[int] = field(default_factory=count)

    @property
    def seconds(self) -> float:
        """Duration of the load."""
        return total_s(self.phases)

    @property
    def now_s(self) -> float:
        """Seconds since time 0."""
        return perf_counter() - self.start_time_s

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        return {"X-Api-Key": self.key} if self.key else {}

    def start(self) -> None:
        """Sets time 0 to the moment when all users have started."""
        self.start_time_s = perf_counter() + START_DELAY_S

    def sleep_until(self, at_s: float) -> None:
        """Sleeps until a time. Other greenlets run even if the time has passed."""
        gevent.sleep(max(0.0, at_s - self.now_s))

    def due_times(self) -> Iterator[float]:
        """Yields the due times of the requests of an open loop."""
        assert self.loop != "closed"
        return arrival_times(self.phases, interarrival_times(self.loop, self.seed))

    def periodic_times(self, interval_s: float) -> Iterator[float]:
        """Yields times at equal intervals until the end of the load."""
        return (number * interval_s for number in range(int(self.seconds / interval_s)))

    def requests(self, user: int = 0) -> Iterator[ImageRequest]:
        """Yields endless requests, the same for the same seed and number of the user."""
        random = Random(f"{self.seed} {user}")
        while True:
            weights = BATCH_WEIGHTS if random.random() < self.batch_share else PHOTO_WEIGHTS
            yield random.choices(list(weights), list(weights.values()))[0]


def bind_user(user: type[U], run: LoadRun, *, fixed_count: int = 0) -> type[U]:
    """Returns a subclass with the run as an attribute; locust instantiates users by class only."""
    members = {"load_run": run, "host": run.url, "fixed_count": fixed_count, "abstract": False}
    return type(user.__name__, (user,), members)
