"""Formats tables and figures as Markdown."""

from collections.abc import Iterable, Sequence

from training.evaluation.metrics import Estimate


def figure(value: Estimate) -> str:
    """Formats an estimate, with its interval if there are enough photos."""
    return f"{value.value:.2f}" + _interval(value, ".2f")


def signed(value: Estimate) -> str:
    """Formats a difference with sign, in bold if the interval excludes zero."""
    text = f"{value.value:+.2f}" + _interval(value, "+.2f")
    return f"**{text}**" if value.above_zero or value.below_zero else text


def _interval(value: Estimate, form: str) -> str:
    return f" ({value.low:{form}} to {value.high:{form}})" if value.has_interval else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Formats a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
