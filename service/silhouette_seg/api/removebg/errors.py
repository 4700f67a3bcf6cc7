"""Translates the errors of the service to the status codes, error codes and body of remove.bg."""

import json
from collections.abc import Iterable

from silhouette_seg.api.problem_details import detail_with_limit
from silhouette_seg.api.removebg.parameters import FIELDS
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
"""Prefix of the paths with errors in the format of remove.bg."""

_ERROR_CODES: dict[type[ServiceError], tuple[int, str]] = {
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
"""HTTP status and error code of remove.bg for each class of error.

An error of a class without an entry keeps its own status and code.
"""

UNKNOWN_PARAMETER = "invalid_parameter"
_PARAMETER_CODES = {
    "bg": "multiple_bg_sources",
    "image_file_b64": "failed_to_read_image",
}
"""Error code of remove.bg for a BadParameter, by the parameter's name.

The name is the beginning of the error's detail. Other parameters have the code `invalid_<name>`; an
unknown name has `invalid_parameter`.
"""


def error_body(error: ServiceError) -> tuple[int, str]:
    """Returns the HTTP status of an error and its JSON body, both in the format of remove.bg."""
    status, code, title = _status_code_title(error)
    entry = {"title": title, "code": code, "detail": detail_with_limit(error)}
    return status, json.dumps({"errors": [entry]})


def status_and_code(kind: type[ServiceError]) -> tuple[int, str]:
    """Returns the HTTP status and the code of a class of error, except those of BadParameter."""
    mapped = (_ERROR_CODES[cls] for cls in kind.__mro__ if cls in _ERROR_CODES)
    return next(mapped, (kind.status, kind.code))


def codes_of_status(kinds: Iterable[type[ServiceError]], status: int) -> list[str]:
    """Returns the codes in remove.bg's format that these classes of errors have with a status."""
    pairs = {status_and_code(kind) for kind in kinds if not issubclass(kind, BadParameter)}
    codes = {code for code_status, code in pairs if code_status == status}
    if status == BadParameter.status:
        codes |= {"invalid_<parameter>", UNKNOWN_PARAMETER, *_PARAMETER_CODES.values()}
    return sorted(codes)


def _status_code_title(error: ServiceError) -> tuple[int, str, str]:
    if not isinstance(error, BadParameter):
        return *status_and_code(type(error)), error.title
    name = error.detail.partition(":")[0]
    default = f"invalid_{name}" if name in FIELDS else UNKNOWN_PARAMETER
    return error.status, _PARAMETER_CODES.get(name, default), error.detail
