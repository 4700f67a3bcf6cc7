"""Parses the options of a call by the table of the API's parameters."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from silhouette_seg.api.request.negotiation import negotiate
from silhouette_seg.api.request.parameters import SegmentOptions, parse_parameters, parse_value
from silhouette_seg.errors import (
    BadParameter,
    InvalidArgument,
    NotAcceptable,
    Setting,
    UnknownModel,
)
from silhouette_seg.library.options import (
    COMPOSITE_OPTIONS,
    FACT_OPTIONS,
    FILE_OPTIONS,
    TRIMAP_OPTIONS,
    Kind,
    check_names,
)
from silhouette_seg.runtime.parameter_text import parameter_text
from silhouette_seg.vision.codec.header import ImageFormat

CALLS = {
    "mask": "segment()",
    "cutout": "cut_out()",
    "composite": "composite()",
    "trimap": 'Session.run(photo, "trimap")',
}
"""Call that makes each output, for error messages."""


@dataclass(frozen=True, slots=True)
class ParsedOptions:
    """Options of one call."""

    segment: SegmentOptions
    format: ImageFormat
    """Format of the image file, if the result is bytes."""
    background: object | None
    """Image to put behind the person, of any kind of photo; None without one."""


def inherited(
    options: Mapping[str, Any], output: str, kind: Kind, *, facts: bool
) -> dict[str, Any]:
    """Returns the options of a session that have an effect on one call.

    `facts` is true for a call that returns facts about the photo.
    """
    left_out: frozenset[str] = frozenset() if facts else FACT_OPTIONS
    if output != "composite":
        left_out |= COMPOSITE_OPTIONS
    if output != "trimap":
        left_out |= TRIMAP_OPTIONS
    if kind != "bytes":
        left_out |= FILE_OPTIONS
    return {name: value for name, value in options.items() if name not in left_out}


def parse_options(
    output: str, kind: Kind, options: Mapping[str, Any], *, facts: bool
) -> ParsedOptions:
    """Parses the options of a call for an output such as `mask`.

    `facts` is true for a call that returns facts about the photo.
    Raises InvalidArgument for an unknown name, an invalid value, or an option without effect.
    """
    check_names(options)
    given = _without_none(options)
    for name in sorted(FILE_OPTIONS & given.keys()):
        if kind != "bytes" and given[name]:
            raise InvalidArgument(name, "has an effect on results in bytes alone")
    for name in sorted(FACT_OPTIONS & given.keys()):
        if not facts and given[name]:
            raise InvalidArgument(name, "has an effect on Session.run alone")
    background = None if isinstance(given.get("background"), str) else given.pop("background", None)
    texts = {name: _to_text(name, value) for name, value in given.items()}
    with named_parameters():
        parsed = parse_parameters(
            {"output": output, **texts}, has_background_image=background is not None
        )
    try:
        chosen = negotiate(None, explicit=parsed.format, output=parsed.render.output)
    except NotAcceptable as error:
        raise InvalidArgument.from_error("format", error, spell_argument) from None
    return ParsedOptions(parsed, chosen.image, background)


def check_values(options: Mapping[str, Any]) -> SegmentOptions:
    """Checks each option of a session by itself, and returns those that select its model.

    Raises InvalidArgument for an unknown name or an invalid value.
    """
    check_names(options)
    given = _without_none(options)
    if not isinstance(given.get("background", ""), str):
        del given["background"]
    texts = {name: _to_text(name, value) for name, value in given.items()}
    with named_parameters():
        values = {name: parse_value(name, text) for name, text in texts.items()}
    selecting = {name: values[name] for name in ("model", "domain") if name in values}
    return SegmentOptions(**selecting)  # type: ignore[arg-type]  # by name


@contextmanager
def named_parameters() -> Iterator[None]:
    """Context manager that raises InvalidArgument, in the spelling of Python, for a parameter."""
    try:
        yield
    except UnknownModel as error:
        raise InvalidArgument.from_error("model", error) from None
    except BadParameter as error:
        raise InvalidArgument.from_parameter(error, spell_argument) from None


def spell_argument(setting: Setting) -> str:
    """Returns the Python spelling of a parameter, such as `crop=True`. An output is its call."""
    match setting.name, setting.value:
        case "background_image", _:
            return "a pathlib.Path, bytes, an open file, a PIL image or an array"
        case name, None:
            return name
        case "output", str(value):
            return CALLS[value]
        case name, ("true" | "false") as value:
            return f"{name}={value.title()}"
    return f"{setting.name}={setting.value!r}"


def _without_none(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _to_text(name: str, value: object) -> str:
    try:
        return parameter_text(value)
    except TypeError as error:
        raise InvalidArgument(name, str(error)) from None
