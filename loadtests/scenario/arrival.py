"""Arrival times of requests in an open loop, where responses do not delay later requests."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from random import Random
from typing import Literal

ArrivalProcess = Literal["constant", "poisson"]


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a load with one level. The field names are part of `figures.json`."""

    name: str
    seconds: float
    level: float
    """Requests per second in an open loop, users in a closed one."""


def interarrival_times(process: ArrivalProcess, seed: int) -> Iterator[float]:
    """Yields endless intervals between requests, with mean 1: constant or of a Poisson process."""
    if process == "constant":
        yield from repeat(1.0)
    random = Random(seed)
    while True:
        yield random.expovariate(1.0)


def arrival_times(phases: Iterable[Phase], intervals: Iterator[float]) -> Iterator[float]:
    """Yields the times at which requests are due, in seconds from the start and in order.

    A phase consumes `level` units of the intervals per second. The rest of an interval at the end
    of a phase continues in the next one.
    """
    phase_start_s = 0.0
    remaining = next(intervals)
    for phase in phases:
        elapsed_s = 0.0
        while phase.level and elapsed_s + remaining / phase.level < phase.seconds:
            elapsed_s += remaining / phase.level
            yield phase_start_s + elapsed_s
            remaining = next(intervals)
        remaining -= (phase.seconds - elapsed_s) * phase.level
        phase_start_s += phase.seconds
