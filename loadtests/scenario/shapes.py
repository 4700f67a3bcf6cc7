"""Named load shapes, and the number of users over time in a closed loop."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal, get_args

from loadtests.scenario.arrival import Phase

Shape = Literal["steady", "step", "overload", "soak"]
SHAPES: tuple[Shape, ...] = get_args(Shape)

PEAK_SHARE: dict[Shape, float] = {"steady": 0.5, "step": 1.5, "overload": 3.0, "soak": 0.7}
"""Highest load, as a share of the measured capacity."""

STEP_COUNT = 6
SOAK_QUARTERS = 4

UserCount = Callable[[float], int | None]
"""Returns the number of users at a time in seconds, or None after the end."""


def make_phases(shape: Shape, *, peak: float, seconds: float) -> tuple[Phase, ...]:
    """Returns the phases of a shape; `peak` is the highest level, requests per second or users."""
    if shape == "step":
        return tuple(
            Phase(f"step {number}", seconds / STEP_COUNT, peak * number / STEP_COUNT)
            for number in range(1, STEP_COUNT + 1)
        )
    if shape == "overload":
        # Half of the capacity, three times the capacity, and half again to observe recovery.
        calm = peak / PEAK_SHARE["overload"] / 2
        thirds = (("before", calm), ("over", peak), ("after", calm))
        return tuple(Phase(name, seconds / 3, level) for name, level in thirds)
    if shape == "soak":
        quarters = range(1, SOAK_QUARTERS + 1)
        return tuple(
            Phase(f"quarter {number}", seconds / SOAK_QUARTERS, peak) for number in quarters
        )
    return (Phase(shape, seconds, peak),)


def total_s(phases: Sequence[Phase]) -> float:
    """Returns the duration of all phases in seconds."""
    return sum(phase.seconds for phase in phases)


def phase_at(phases: Sequence[Phase], at_s: float) -> Phase:
    """Returns the phase at a time, or the last phase after the end."""
    ends = accumulate(phase.seconds for phase in phases)
    current = (phase for phase, end in zip(phases, ends, strict=True) if at_s < end)
    return next(current, phases[-1])


def closed_loop_users(phases: Sequence[Phase]) -> UserCount:
    """Returns the number of users of a closed loop as a function of time."""

    def users(at_s: float) -> int | None:
        if at_s >= total_s(phases):
            return None
        return max(1, round(phase_at(phases, at_s).level))

    return users
