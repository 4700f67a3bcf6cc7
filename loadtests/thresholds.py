"""What must hold, read from a file, and whether it does."""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.shapes import SHAPES, Shape

OWN = Path(__file__).with_name("thresholds.toml")
EVERY = "every"


class BadThresholds(ValueError):
    """The file does not say what it should; the message tells where."""


@dataclass(frozen=True, slots=True)
class Threshold:
    figure: str
    """Where it is, with dots: `phases.over.health.p95_ms`."""
    at_most: float | None = None
    at_least: float | None = None

    def __str__(self) -> str:
        if self.at_most is not None:
            return f"{self.figure} at most {self.at_most:g}"
        return f"{self.figure} at least {self.at_least:g}"

    def holds(self, value: float) -> bool:
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True, slots=True)
class Verdict:
    threshold: Threshold
    value: float | None
    met: bool | None
    """None where it was not asked for or cannot be known."""


def read_thresholds(file: Path, shape: Shape) -> list[Threshold]:
    """Those of every shape, and those of one. Raises BadThresholds, OSError."""
    try:
        tables = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise BadThresholds(f"{file.name}: {error}") from None
    for name, table in tables.items():
        if name not in (EVERY, *SHAPES) or not isinstance(table, dict):
            raise BadThresholds(f"{file.name}: {name} is no table of a shape")
    return [
        _threshold(f"{file.name}: {name}: {figure}", figure, bound)
        for name in (EVERY, shape)
        for figure, bound in tables.get(name, {}).items()
    ]


def _threshold(place: str, figure: str, bound: object) -> Threshold:
    if not isinstance(bound, dict) or set(bound) not in ({"at_most"}, {"at_least"}):
        raise BadThresholds(f"{place} has either at_most or at_least")
    if any(
        isinstance(value, bool) or not isinstance(value, int | float) for value in bound.values()
    ):
        raise BadThresholds(f"{place} is a number")
    return Threshold(figure, **bound)


def check(
    thresholds: Iterable[Threshold], figures: Mapping[str, Any], *, unknown: Collection[str] = ()
) -> list[Verdict]:
    """`unknown` are names of what was not asked for or cannot be known; all else that is not
    there is a miss.
    """
    return [_verdict(threshold, figures, unknown) for threshold in thresholds]


def _verdict(threshold: Threshold, figures: Mapping[str, Any], unknown: Collection[str]) -> Verdict:
    names = threshold.figure.split(".")
    if not set(unknown).isdisjoint(names):
        return Verdict(threshold, None, None)
    found: Any = figures
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return Verdict(threshold, found, found is not None and threshold.holds(found))
