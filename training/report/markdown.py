"""Tables and figures as Markdown."""

from collections.abc import Iterable, Sequence

from training.evaluation.metrics import Estimate


def figure(value: Estimate) -> str:
    """The interval only where there are photos enough for one."""
    return f"{value.value:.2f}" + _interval(value, ".2f")


def signed(value: Estimate) -> str:
    """Bold where the interval leaves out zero."""
    text = f"{value.value:+.2f}" + _interval(value, "+.2f")
    return f"**{text}**" if value.above_zero or value.below_zero else text


def _interval(value: Estimate, form: str) -> str:
    return f" ({value.low:{form}} to {value.high:{form}})" if value.has_interval else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
