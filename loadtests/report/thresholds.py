"""Reads thresholds from a file and compares figures with them."""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.scenario.shapes import SHAPES, Shape

DEFAULT_FILE = Path(__file__).parents[1] / "thresholds.toml"
EVERY_SHAPE = "every"


class InvalidThresholds(ValueError):
    """A file of thresholds is invalid. The message has the place."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound of one figure."""

    figure: str
    """Path of the figure, with dots: `phases.over.health.p95_ms`."""
    at_most: float | None = None
    at_least: float | None = None

    def __str__(self) -> str:
        if self.at_most is not None:
            return f"{self.figure} at most {self.at_most:g}"
        return f"{self.figure} at least {self.at_least:g}"

    def is_met_by(self, value: float) -> bool:
        """Returns whether a value is within the bound."""
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A threshold compared with its figure."""

    threshold: Threshold
    value: float | None
    met: bool | None
    """None if this run cannot measure the figure."""


def read_thresholds(file: Path, shape: Shape) -> list[Threshold]:
    """Returns the thresholds of every shape and of one. Raises InvalidThresholds and OSError."""
    try:
        tables = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise InvalidThresholds(f"{file.name}: {error}") from None
    for name, table in tables.items():
        if name not in (EVERY_SHAPE, *SHAPES) or not isinstance(table, dict):
            raise InvalidThresholds(f"{file.name}: {name} is not a table of a shape")
    return [
        _parse_threshold(f"{file.name}: {name}: {figure}", figure, bound)
        for name in (EVERY_SHAPE, shape)
        for figure, bound in tables.get(name, {}).items()
    ]


def _parse_threshold(place: str, figure: str, bound: object) -> Threshold:
    if not isinstance(bound, dict) or set(bound) not in ({"at_most"}, {"at_least"}):
        raise InvalidThresholds(f"{place} needs either at_most or at_least")
    if any(
        isinstance(value, bool) or not isinstance(value, int | float) for value in bound.values()
    ):
        raise InvalidThresholds(f"{place} needs a number")
    return Threshold(figure, **bound)


def check_thresholds(
    thresholds: Iterable[Threshold],
    figures: Mapping[str, Any],
    *,
    unmeasured: Collection[str] = (),
) -> list[Verdict]:
    """Compares figures with thresholds. A missing figure misses its threshold.

    `unmeasured` names figures that this run cannot measure; their thresholds are not judged.
    """
    return [_judge(threshold, figures, unmeasured) for threshold in thresholds]


def _judge(
    threshold: Threshold, figures: Mapping[str, Any], unmeasured: Collection[str]
) -> Verdict:
    names = threshold.figure.split(".")
    if not set(unmeasured).isdisjoint(names):
        return Verdict(threshold, None, None)
    value: Any = figures
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return Verdict(threshold, value, value is not None and threshold.is_met_by(value))
