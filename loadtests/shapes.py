"""The loads by name, and locust's clock for them."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal, get_args

from loadtests.arrival import Stage

Shape = Literal["steady", "step", "overload", "soak"]
SHAPES: tuple[Shape, ...] = get_args(Shape)

PEAK: dict[Shape, float] = {"steady": 0.5, "step": 1.5, "overload": 3.0, "soak": 0.7}
"""The highest load, as a share of the capacity that was measured."""

STEPS = 6
QUARTERS = 4


def stages_of(shape: Shape, *, peak: float, seconds: float) -> tuple[Stage, ...]:
    """The load over time; `peak` is its highest, requests a second or users."""
    if shape == "step":
        return tuple(
            Stage(f"step {number}", seconds / STEPS, peak * number / STEPS)
            for number in range(1, STEPS + 1)
        )
    if shape == "overload":
        # Half of what the server can do, thrice that, and half again: does it come back?
        calm = peak / PEAK["overload"] / 2
        thirds = (("before", calm), ("over", peak), ("after", calm))
        return tuple(Stage(name, seconds / 3, level) for name, level in thirds)
    if shape == "soak":
        quarters = range(1, QUARTERS + 1)
        return tuple(Stage(f"quarter {number}", seconds / QUARTERS, peak) for number in quarters)
    return (Stage(shape, seconds, peak),)


def length_s(stages: Sequence[Stage]) -> float:
    return sum(stage.seconds for stage in stages)


def stage_at(stages: Sequence[Stage], at_s: float) -> Stage:
    """That of a moment; the last one from its end on."""
    ends = accumulate(stage.seconds for stage in stages)
    running = (stage for stage, end in zip(stages, ends, strict=True) if at_s < end)
    return next(running, stages[-1])


def users_at(stages: Sequence[Stage]) -> Callable[[float], int | None]:
    """How many users there are at a moment of a closed loop; None when it is over."""

    def users(at_s: float) -> int | None:
        if at_s >= length_s(stages):
            return None
        return max(1, round(stage_at(stages, at_s).level))

    return users
