"""Types and names of the options of functions and sessions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from silhouette_seg.errors import InvalidArgument

if TYPE_CHECKING:
    from silhouette_seg.library.images import Photo

Kind = Literal["bytes", "pil", "numpy"]
"""Kinds of results: the bytes of an image file, a PIL image, or a numpy array."""

Output = Literal["mask", "trimap", "cutout", "composite"]
"""Images that `Session.run` makes, named as in the API."""


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
    trimap_band: float
    """Half the width of a trimap's unknown band; `Session.run` returns trimaps."""
    domain: str | None
    layout: str | None
    light_wrap: float
    keep_metadata: bool
    require_foreground: bool


def check_names(options: Mapping[str, Any]) -> None:
    """Raises InvalidArgument for the name of an option that does not exist."""
    for name in options:
        if name not in Options.__annotations__:
            names = ", ".join(Options.__annotations__)
            raise InvalidArgument(name, f"is not an option; there are {names}")


def check_choice(argument: str, value: object, choices: object) -> None:
    """Raises InvalidArgument unless the value of an argument is one of a Literal's `choices`."""
    if value not in get_args(choices):
        names = ", ".join(get_args(choices))
        raise InvalidArgument(argument, f"must be one of {names}, not {value!r}")
