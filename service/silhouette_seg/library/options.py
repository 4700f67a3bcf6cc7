"""Options of the functions and sessions: their types, and their parsing by the table of the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from silhouette_seg.errors import BadParameter, InvalidArgument, NotAcceptable
from silhouette_seg.runtime.parameter_text import parameter_text

if TYPE_CHECKING:
    from silhouette_seg.api.request.parameters import SegmentOptions
    from silhouette_seg.library.images import Photo
    from silhouette_seg.vision.codec.header import ImageFormat

Kind = Literal["bytes", "pil", "numpy"]
"""Kinds of results: the bytes of an image file, a PIL image, or a numpy array."""


class Options(TypedDict, total=False):
    """Options of a photo, with the names, values and defaults of the API; None leaves one out."""

    model: str
    format: Literal["png", "jpeg", "jpg", "webp", "avif"] | None
    """Format of the image file, if the result is bytes."""
    background: "str | Photo | None"
    """Text as in the API, such as `#20639b`, or an image of any kind but a path as str."""
    person: Literal["all", "dominant"]
    refine: Literal["guided", "none"]
    decontaminate: bool
    grow: int
    feather: float
    crop: bool
    crop_margin: float
    invert: bool
    threshold: float | None
    domain: str | None
    layout: str | None
    light_wrap: float
    keep_metadata: bool
    require_foreground: bool


COMPOSITE_OPTIONS = frozenset({"background", "light_wrap"})
"""Options that only `composite` has. Those of a session apply to its composites alone."""
FILE_OPTIONS = frozenset({"format", "keep_metadata"})
"""Options that only results in bytes have. Those of a session apply to such results alone."""


@dataclass(frozen=True, slots=True)
class ParsedOptions:
    """Options of one call."""

    segment: "SegmentOptions"
    format: "ImageFormat"
    """Format of the image file, if the result is bytes."""
    background: object | None
    """Image to put behind the person, of any kind of photo; None without one."""


def check_names(options: Mapping[str, Any]) -> None:
    """Raises InvalidArgument for the name of an option that does not exist."""
    for name in options:
        if name not in Options.__annotations__:
            names = ", ".join(Options.__annotations__)
            raise InvalidArgument(name, f"is not an option; there are {names}")


def inherited(options: Mapping[str, Any], output: str, kind: Kind) -> dict[str, Any]:
    """Returns the options of a session that have an effect on one call."""
    left_out: frozenset[str] = frozenset()
    if output != "composite":
        left_out |= COMPOSITE_OPTIONS
    if kind != "bytes":
        left_out |= FILE_OPTIONS
    return {name: value for name, value in options.items() if name not in left_out}


def parse_options(output: str, kind: Kind, options: Mapping[str, Any]) -> ParsedOptions:
    """Parses the options of a call for an output, `mask`, `cutout` or `composite`.

    Raises InvalidArgument for an unknown name, an invalid value, or an option without effect.
    """
    from silhouette_seg.api.request.negotiation import negotiate
    from silhouette_seg.api.request.parameters import parse_parameters

    check_names(options)
    given = {name: value for name, value in options.items() if value is not None}
    for name in FILE_OPTIONS & given.keys():
        if kind != "bytes" and given[name]:
            raise InvalidArgument(name, "has an effect on results in bytes alone")
    background = None if isinstance(given.get("background"), str) else given.pop("background", None)
    texts = {name: _to_text(name, value) for name, value in given.items()}
    try:
        parsed = parse_parameters(
            {"output": output, **texts}, has_background_image=background is not None
        )
    except BadParameter as error:
        name, _, reason = error.detail.partition(": ")
        raise InvalidArgument(name, reason) from None
    try:
        transparent = parsed.render.transparent
        chosen = negotiate(None, explicit=parsed.format, transparent=transparent)
    except NotAcceptable as error:
        raise InvalidArgument.from_error("format", error) from None
    return ParsedOptions(parsed, chosen.image, background)


def _to_text(name: str, value: object) -> str:
    try:
        return parameter_text(value)
    except TypeError as error:
        raise InvalidArgument(name, str(error)) from None
