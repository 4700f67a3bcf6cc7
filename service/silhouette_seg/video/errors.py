"""What may be wrong with a video, and where libav's errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from av.error import FFmpegError


class VideoError(Exception):
    """A video that cannot be read or written; the text is for whoever named the file."""


@contextmanager
def video_errors(what: str) -> Iterator[None]:
    """libav's errors as ours, after saying what did not work."""
    try:
        yield
    except FFmpegError as error:
        raise VideoError(f"{what}: {error.strerror}.") from error
