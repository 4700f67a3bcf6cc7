"""Types and names of the options of functions and sessions."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, get_args

from silhouette_seg.errors import InvalidArgument
from silhouette_seg.runtime.photo_options import PhotoOptions

if TYPE_CHECKING:
    from silhouette_seg.library.images import Photo

Kind = Literal["bytes", "pil", "numpy"]
"""Kinds of results: the bytes of an image file, a PIL image, or a numpy array."""

Output = Literal["mask", "trimap", "cutout", "composite"]
"""Images that `Session.run` makes, named as in the API."""


class SessionOptions(PhotoOptions, total=False):
    """Options of a session besides its model."""

    background: "str | Photo | None"
    """Text as in the API, such as `#20639b`, or an image of any kind but a path as str."""


class Options(SessionOptions, total=False):
    """Options of a photo."""

    model: str | None


COMPOSITE_OPTIONS = frozenset({"background", "light_wrap"})
"""Options that only composites have. Those of a session apply to its composites alone."""
TRIMAP_OPTIONS = frozenset({"trimap_band"})
"""Options that only trimaps have. Those of a session apply to its trimaps alone."""
FILE_OPTIONS = frozenset({"format", "keep_metadata"})
"""Options that only results in bytes have. Those of a session apply to such results alone."""
FACT_OPTIONS = frozenset({"masks", "faces"})
"""Options that only `Session.run` has. Those of a session apply to it alone."""


def check_names(options: Iterable[str]) -> None:
    """Raises InvalidArgument for the name of an option that does not exist."""
    for name in options:
        if name == "background_image":
            raise InvalidArgument(name, "is not an option; background takes images and colours")
        if name not in Options.__annotations__:
            names = ", ".join(Options.__annotations__)
            raise InvalidArgument(name, f"is not an option; there are {names}")


def check_choice(argument: str, value: object, choices: object) -> None:
    """Raises InvalidArgument unless the value of an argument is one of a Literal's `choices`."""
    if value not in get_args(choices):
        names = ", ".join(get_args(choices))
        raise InvalidArgument(argument, f"must be one of {names}, not {value!r}")
