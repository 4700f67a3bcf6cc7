"""Errors of the service, with their HTTP status and their code.

ServiceError
├── BadRequest 400: MalformedBody, MissingImage, AmbiguousSource, BadParameter,
│                   UnknownParameter
├── Unauthorized 401
├── NotFound 404: UnknownModel        ├── MethodNotAllowed 405
├── NotAcceptable 406                 ├── BodyTooSlow 408
├── BodyTooLarge 413: TooManyImages   ├── UnsupportedImageType 415, UnsupportedMediaType 415
├── UnprocessableImage 422: UndecodableImage, TooManyPixels, SideTooLong, AspectTooExtreme,
│                           TooManyFrames, ForegroundMissing
├── UnprocessableOffer 422             ├── TooManyStreams 429
├── Unavailable 503: Overloaded, Draining, WarmingUp, OutOfMemory, EngineFailed, EngineDown
├── DeadlineExceeded 504
├── NotInstalled 501
└── InternalError 500                  └── ModelFailed 500
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

MAX_ECHOED_CHARACTERS = 64
"""Number of characters after which an error message cuts a name that the caller sent."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A parameter that an error mentions, with a value or without, as text of the API.

    `str` returns the spelling of the HTTP API. The library and the command line have their own.
    """

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


Spelling = Callable[[Setting], str]
"""Function that spells a parameter as the callers of one interface know it."""


class ServiceError(Exception):
    """Base of every error that the service reports to a caller.

    `detail` is the public explanation: it never holds engine text, paths or tracebacks. It consists
    of `parts`, by default the title of the class. `limit` and `actual` become fields of the
    response if a limit was exceeded. `retry_after_s` becomes the header `Retry-After`, in seconds.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        *parts: str | Setting,
        limit: float | None = None,
        actual: float | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        self._parts = parts or (f"{self.title}.",)
        self.detail = self.spelled(str)
        super().__init__(self.detail)
        self.limit = limit
        self.actual = actual
        self.retry_after_s = retry_after_s

    def spelled(self, spell: Spelling) -> str:
        """Returns the detail with its parameters spelled by `spell`."""
        return "".join(part if isinstance(part, str) else spell(part) for part in self._parts)


def with_limit(detail: str, limit: float | None, actual: float | None) -> str:
    """Returns an explanation, with a limit and the actual value in parentheses unless None."""
    if limit is None:
        return detail
    got = "" if actual is None else f", got {actual:.15g}"
    return f"{detail.rstrip('.')} (limit {limit:.15g}{got})."


class InvalidArgument(ValueError):
    """An argument of a function of the library, or of a client's, has a value that it cannot use.

    The message begins with the name of the argument. `limit` and `actual` are those of the error
    of the service for the same fault, and `code` is its code, such as `too_many_pixels`.
    """

    def __init__(
        self,
        argument: str,
        reason: str,
        code: str = "invalid_argument",
        limit: float | None = None,
        actual: float | None = None,
    ) -> None:
        super().__init__(argument, reason, code, limit, actual)  # as pickle needs them
        self.argument = argument
        self.reason = reason
        self.code = code
        self.limit = limit
        self.actual = actual

    def __str__(self) -> str:
        sizes = "" if self.actual is None else f" The limit is {self.limit}, not {self.actual}."
        return f"{self.argument}: {self.reason}{sizes}"

    @classmethod
    def from_error(cls, argument: str, error: ServiceError, spell: Spelling = str) -> Self:
        """Returns the error of an argument with the reason and the fields of another error.

        `spell` spells the parameters of the reason.
        """
        return cls(argument, error.spelled(spell), error.code, error.limit, error.actual)

    @classmethod
    def from_parameter(cls, error: "BadParameter", spell: Spelling) -> Self:
        """Returns the error of the argument that the detail of `error` begins with."""
        argument, _, reason = error.spelled(spell).partition(": ")
        return cls(argument, reason)


class InstallationError(ValueError):
    """The installation lacks a package, or has packages that exclude each other.

    The message names the packages and the command that helps.
    """


class InternalError(ServiceError):
    """Failure of the service itself; the log has the cause under the id of the request."""


class ModelFailed(ServiceError):
    """The requested model did not load, or failed on its first picture.

    It stays out of service until the process starts again, so a retry does not help.
    """

    code = "model_failed"
    title = "The model is broken"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} is not available: {reason}.")


class BadRequest(ServiceError):
    status = 400
    code = "bad_request"
    title = "Bad request"


class MalformedBody(BadRequest):
    code = "malformed_body"
    title = "The request body cannot be parsed"


class MissingImage(BadRequest):
    code = "missing_image"
    title = "No image was sent"


class AmbiguousSource(BadRequest):
    code = "ambiguous_source"
    title = "More than one image was sent"


class BadParameter(BadRequest):
    code = "bad_parameter"
    title = "A parameter has a value that is not allowed"

    @classmethod
    def about(cls, name: str, *reason: str | Setting) -> Self:
        """Returns the error of one parameter. Its detail is the name and the reason."""
        return cls(Setting(name), ": ", *reason)


class UnknownParameter(BadRequest):
    code = "unknown_parameter"
    title = "A parameter is not known"


class Unauthorized(ServiceError):
    status = 401
    code = "unauthorized"
    title = "A valid key is required"


class NotFound(ServiceError):
    status = 404
    code = "not_found"
    title = "Not found"


class UnknownModel(NotFound):
    """No model of the requested name, or of that name and version, is served."""

    code = "unknown_model"
    title = "No such model"

    def __init__(self, name: str, available: Iterable[str]) -> None:
        super().__init__(
            f"Unknown model {name[:MAX_ECHOED_CHARACTERS]!r}; available: {', '.join(available)}."
        )


class MethodNotAllowed(ServiceError):
    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"


class NotAcceptable(ServiceError):
    status = 406
    code = "not_acceptable"
    title = "The accepted type cannot be made"


class BodyTooSlow(ServiceError):
    status = 408
    code = "body_too_slow"
    title = "The request body arrived too slowly"
    retryable = True


class BodyTooLarge(ServiceError):
    status = 413
    code = "body_too_large"
    title = "The request body has too many bytes"


class TooManyImages(BodyTooLarge):
    code = "too_many_images"
    title = "The batch has too many images"


class UnsupportedImageType(ServiceError):
    status = 415
    code = "unsupported_image_type"
    title = "The body is not an image of an allowed type"


class UnsupportedMediaType(ServiceError):
    status = 415
    code = "unsupported_media_type"
    title = "The body is not of an allowed type"


class UnprocessableImage(ServiceError):
    status = 422
    code = "unprocessable_image"
    title = "The image cannot be processed"


class UndecodableImage(UnprocessableImage):
    code = "undecodable_image"
    title = "The image does not decode"


class TooManyPixels(UnprocessableImage):
    code = "too_many_pixels"
    title = "The image has too many pixels"


class SideTooLong(UnprocessableImage):
    code = "side_too_long"
    title = "A side of the image is too long"


class AspectTooExtreme(UnprocessableImage):
    code = "aspect_too_extreme"
    title = "The image is too narrow"


class TooManyFrames(UnprocessableImage):
    code = "too_many_frames"
    title = "The image is animated"


class ForegroundMissing(UnprocessableImage):
    code = "foreground_missing"
    title = "No person was found"


class UnprocessableOffer(ServiceError):
    status = 422
    code = "unprocessable_offer"
    title = "The WebRTC offer cannot be served"


class TooManyStreams(ServiceError):
    status = 429
    code = "too_many_streams"
    title = "This caller has too many streams"
    retryable = True


class NotInstalled(ServiceError):
    """An optional part of the service is not installed; `detail` names the pip extra."""

    status = 501
    code = "not_installed"
    title = "This part of the service is not installed"


class Unavailable(ServiceError):
    status = 503
    code = "unavailable"
    title = "Not available now"
    retryable = True


class Overloaded(Unavailable):
    code = "overloaded"
    title = "The service is full"


class Draining(Unavailable):
    code = "draining"
    title = "The service is shutting down"


class WarmingUp(Unavailable):
    code = "warming_up"
    title = "The service is warming up"


class OutOfMemory(Unavailable):
    """An allocation failed. The photo is not at fault, and a retry is safe."""

    code = "out_of_memory"
    title = "The service is short of memory"


class EngineFailed(Unavailable):
    """A model gave no result. `of_device` is True if the device can run no model at all."""

    code = "engine_failed"
    title = "The inference engine is not working"
    of_device = False


class EngineDown(Unavailable):
    """The remote inference server cannot be reached now. A retry is safe."""

    code = "engine_down"
    title = "The inference server cannot be reached"


class DeadlineExceeded(ServiceError):
    status = 504
    code = "deadline_exceeded"
    title = "The deadline passed"
    retryable = True
