"""Defines the destinations of a segmented video: a video file, or a folder of pictures."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.video.containers import CONTAINERS
from silhouette_seg.video.frames_folder import SequenceWriter
from silhouette_seg.video.reader import AudioChunk, VideoInfo
from silhouette_seg.video.video_file import VideoWriter
from silhouette_seg.vision.codec.header import ImageFormat


def make_writer(result: Path, format: ImageFormat, *, overwrite: bool = False) -> "FrameWriter":
    """Returns a writer of a video file for a path with a suffix of `CONTAINERS`.

    For any other path, and for an existing folder, it writes images of `format` into a folder.
    Raises VideoError if that folder is not empty, unless `overwrite` is set and it has nothing but
    frames.
    """
    container = CONTAINERS.get(result.suffix.lower())
    if container is not None and not result.is_dir():
        return VideoWriter(result, container)
    return SequenceWriter(result, format, overwrite=overwrite)


class FrameWriter(Protocol):
    """Destination of rendered frames and audio. Methods raise VideoError if writing fails.

    One thread may use it at a time.
    """

    copied_codecs: frozenset[str] | None
    """Audio codecs with packets that are copied. None: the writer ignores audio."""
    notices: list[str]
    """Sentences for the user about changes that the result has; complete after `finish`."""

    def start(self, info: VideoInfo, image: NDArray[np.uint8]) -> None:
        """Prepares the output for frames of the size and channels of `image`.

        Call it once, before all other methods.
        """
        ...

    def write_image(self, image: NDArray[np.uint8], pts: int) -> None:
        """Appends an image, uint8 [h,w], [h,w,3] or [h,w,4], at the time `pts` in ticks.

        Call it in order of time.
        """
        ...

    def write_audio(self, chunk: AudioChunk) -> None:
        """Appends a packet or frame of audio to its track."""
        ...

    def finish(self) -> None:
        """Completes the result and moves it to its final path."""
        ...

    def discard(self) -> None:
        """Deletes a partial result. Does nothing after `finish`."""
        ...
