"""Types of the parameters that the clients send, and their text."""

import re
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from silhouette_seg.errors import InvalidArgument
from silhouette_seg.runtime.parameter_text import parameter_text
from silhouette_seg.runtime.photo_options import PhotoOptions
from silhouette_seg.runtime.sources import FileSource, read_file_source

_LIKE_A_PATH = re.compile(r".*[/\\].*|.*\.[A-Za-z]\w*", re.DOTALL)
"""Pattern of a text that is the path of a file, and neither a colour nor a blur."""


class PhotoParameters(PhotoOptions, total=False):
    """Parameters of `POST /v1/segment`; None leaves one out."""

    model: str | None
    output: Literal["mask", "cutout", "composite", "trimap"] | None
    background: str | FileSource | None
    """Text such as `#20639b` or `blur:4`, or an image file of any kind but a path as str."""


class StreamParameters(TypedDict, total=False):
    """Options of a video stream; None restores the default of one."""

    model: str | None
    output: Literal["mask", "cutout", "composite"] | None
    background: str | FileSource | None
    """Text or an image file, as for a photo."""
    format: Literal["png", "jpeg", "jpg", "webp", "avif"] | None
    threshold: float | None
    grow: int | None
    feather: float | None
    invert: bool | None
    size: int | None
    """Maximum length of the longer side of a result, in pixels."""
    smoothing: float | None
    """Strength of the temporal smoothing of the mask, 0..1."""


def split_background(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], bytes | None]:
    """Returns the parameters without an image as background, and the bytes of this image or None.

    Raises InvalidArgument for a text that is the path of a file, for an object of another type, and
    for the name of the API's part. Raises OSError for a file that cannot be read.
    """
    if "background_image" in parameters:
        reason = "is not an argument; background takes images and colours"
        raise InvalidArgument("background_image", reason)
    others = dict(parameters)
    background = others.get("background")
    if isinstance(background, str) and _LIKE_A_PATH.fullmatch(background):
        reason = "is a colour or blur if it is text; an image is given as a pathlib.Path or bytes"
        raise InvalidArgument("background", reason)
    if isinstance(background, str | None):
        return others, None
    return others, read_file_source(others.pop("background"), "background")


def query_of(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Returns the text of each parameter by name, without those that are None.

    Raises InvalidArgument for a value that is neither text, a number nor a boolean.
    """
    query = {}
    for name, value in parameters.items():
        try:
            if value is not None:
                query[name] = parameter_text(value)
        except TypeError as error:
            raise InvalidArgument(name, str(error)) from None
    return query
