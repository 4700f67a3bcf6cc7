"""Our refusals and failures in the words of remove.bg's API: the one place where they meet."""

import json

from silhouette_seg.api.problem_details import detail_with_limit
from silhouette_seg.api.removebg.parameters import PARAMETERS
from silhouette_seg.errors import (
    AmbiguousSource,
    AspectTooExtreme,
    BadParameter,
    BodyTooLarge,
    ForegroundMissing,
    MissingImage,
    Overloaded,
    ServiceError,
    SideTooLong,
    TooManyFrames,
    TooManyPixels,
    Unauthorized,
    UnprocessableImage,
    UnsupportedImageType,
)

PATH = "/v1.0"

_CODES: dict[type[ServiceError], tuple[int, str]] = {
    MissingImage: (400, "missing_source"),
    AmbiguousSource: (400, "multiple_sources"),
    BodyTooLarge: (400, "file_too_large"),
    UnsupportedImageType: (400, "invalid_file_type"),
    TooManyFrames: (400, "invalid_file_type"),
    TooManyPixels: (400, "resolution_too_high"),
    SideTooLong: (400, "resolution_too_high"),
    AspectTooExtreme: (400, "invalid_dimensions"),
    UnprocessableImage: (400, "failed_to_read_image"),
    ForegroundMissing: (400, "unknown_foreground"),
    Unauthorized: (403, "auth_failed"),
    Overloaded: (429, "rate_limit_exceeded"),
}
"""Status and code there; what is not here keeps its own."""

_PARAMETER_CODES = {
    "bg": "multiple_bg_sources",
    "image_file_b64": "failed_to_read_image",
}
"""Of a BadParameter, whose detail begins with a name; `invalid_<name>` for other parameters, and
`invalid_parameter` for a name that is none."""


def translated(error: ServiceError) -> tuple[int, str]:
    """The status, and the JSON body."""
    status, code, title = _translated(error)
    entry = {"title": title, "code": code, "detail": detail_with_limit(error)}
    return status, json.dumps({"errors": [entry]})


def _translated(error: ServiceError) -> tuple[int, str, str]:
    if isinstance(error, BadParameter):
        name = error.detail.partition(":")[0]
        known = f"invalid_{name}" if name in PARAMETERS else "invalid_parameter"
        return error.status, _PARAMETER_CODES.get(name, known), error.detail
    for kind in type(error).__mro__:
        if kind in _CODES:
            return *_CODES[kind], error.title
    return error.status, error.code, error.title
