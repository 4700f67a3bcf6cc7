"""Parses the options of a call by the table of the API's parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from silhouette_seg.api.request.negotiation import negotiate
from silhouette_seg.api.request.parameters import SegmentOptions, parse_parameters
from silhouette_seg.errors import BadParameter, InvalidArgument, NotAcceptable
from silhouette_seg.library.options import Kind, check_names
from silhouette_seg.runtime.parameter_text import parameter_text
from silhouette_seg.vision.codec.header import ImageFormat

COMPOSITE_OPTIONS = frozenset({"background", "light_wrap"})
"""Options that only `composite` has. Those of a session apply to its composites alone."""
TRIMAP_OPTIONS = frozenset({"trimap_band"})
"""Options that only trimaps have. Those of a session apply to its trimaps alone."""
FILE_OPTIONS = frozenset({"format", "keep_metadata"})
"""Options that only results in bytes have. Those of a session apply to such results alone."""


@dataclass(frozen=True, slots=True)
class ParsedOptions:
    """Options of one call."""

    segment: SegmentOptions
    format: ImageFormat
    """Format of the image file, if the result is bytes."""
    background: object | None
    """Image to put behind the person, of any kind of photo; None without one."""


def inherited(options: Mapping[str, Any], output: str, kind: Kind) -> dict[str, Any]:
    """Returns the options of a session that have an effect on one call."""
    left_out: frozenset[str] = frozenset()
    if output != "composite":
        left_out |= COMPOSITE_OPTIONS
    if output != "trimap":
        left_out |= TRIMAP_OPTIONS
    if kind != "bytes":
        left_out |= FILE_OPTIONS
    return {name: value for name, value in options.items() if name not in left_out}


def parse_options(output: str, kind: Kind, options: Mapping[str, Any]) -> ParsedOptions:
    """Parses the options of a call for an output such as `mask`.

    Raises InvalidArgument for an unknown name, an invalid value, or an option without effect.
    """
    check_names(options)
    given = {name: value for name, value in options.items() if value is not None}
    for name in sorted(FILE_OPTIONS & given.keys()):
        if kind != "bytes" and given[name]:
            raise InvalidArgument(name, "has an effect on results in bytes alone")
    background = None if isinstance(given.get("background"), str) else given.pop("background", None)
    texts = {name: _to_text(name, value) for name, value in given.items()}
    try:
        parsed = parse_parameters(
            {"output": output, **texts}, has_background_image=background is not None
        )
    except BadParameter as error:
        raise InvalidArgument.from_parameter(error) from None
    try:
        chosen = negotiate(None, explicit=parsed.format, output=parsed.render.output)
    except NotAcceptable as error:
        raise InvalidArgument.from_error("format", error) from None
    return ParsedOptions(parsed, chosen.image, background)


def _to_text(name: str, value: object) -> str:
    try:
        return parameter_text(value)
    except TypeError as error:
        raise InvalidArgument(name, str(error)) from None
