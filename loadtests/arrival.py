"""When requests are due: an open loop, which no answer holds up."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from random import Random
from typing import Literal

Arrivals = Literal["constant", "poisson"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A time of one load."""

    name: str
    seconds: float
    level: float
    """Requests a second in an open loop, users in a closed one."""


def gaps(arrivals: Arrivals, seed: int) -> Iterator[float]:
    """Distances between requests, endless, of mean 1: all alike, or those of a Poisson process."""
    if arrivals == "constant":
        yield from repeat(1.0)
    random = Random(seed)
    while True:
        yield random.expovariate(1.0)


def moments(stages: Iterable[Stage], distances: Iterator[float]) -> Iterator[float]:
    """Seconds from the start at which requests are due, in order.

    A stage runs through the distances `level` times as fast as a second passes. What is left of
    one at the end of a stage goes on in the next.
    """
    began = 0.0
    left = next(distances)
    for stage in stages:
        spent = 0.0
        while stage.level and spent + left / stage.level < stage.seconds:
            spent += left / stage.level
            yield began + spent
            left = next(distances)
        left -= (stage.seconds - spent) * stage.level
        began += stage.seconds
