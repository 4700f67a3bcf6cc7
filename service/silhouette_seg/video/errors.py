"""Defines the error of this package and translates libav's errors to it."""

from collections.abc import Iterator
from contextlib import contextmanager

from av.error import FFmpegError


class VideoError(Exception):
    """A video cannot be read or written. The message is written for users."""


@contextmanager
def translate_av_errors(context: str) -> Iterator[None]:
    """Context manager that turns an error of libav into VideoError.

    Its message is `context` and then libav's own message.
    """
    try:
        yield
    except FFmpegError as error:
        raise VideoError(f"{context}: {error.strerror}.") from error
