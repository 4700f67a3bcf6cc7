"""Writes rendered frames as pictures into a folder, all or nothing."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.video.errors import VideoError
from silhouette_seg.video.orientation import with_square_pixels
from silhouette_seg.video.reader import AudioChunk, VideoInfo
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.codec.header import ImageFormat

_FRAME_NAME = re.compile(r"\d{6,}\.(jpg|png|webp|avif)")
"""File names of the frames in a folder."""


@contextmanager
def _translate_os_errors() -> Iterator[None]:
    """Context manager that raises VideoError for an error of the file system."""
    try:
        yield
    except OSError as error:
        raise VideoError(f"The frames cannot be written: {error.strerror}.") from error


class SequenceWriter:
    """Writes images `000001.png`, `000002.png`, ... to an empty or new folder, and no audio.

    The suffix is that of the image format. With `overwrite` the images replace those of an older
    run at the end. The constructor raises VideoError if the folder has anything else.
    """

    copied_codecs: frozenset[str] | None = None

    def __init__(self, folder: Path, format: ImageFormat, *, overwrite: bool = False) -> None:
        _check_folder(folder, overwrite=overwrite)
        folder = folder.resolve()  # the target of a link is replaced, not the link
        self._folder = folder
        self._partial = folder.with_name(f".{folder.name}.part")
        self._suffix = "jpg" if format is ImageFormat.JPEG else format.value
        self._format = format
        self._count = 0
        self.notices: list[str] = []

    def start(self, info: VideoInfo, image: NDArray[np.uint8]) -> None:
        self._pixel_aspect = info.shape.pixel_aspect
        shutil.rmtree(self._partial, ignore_errors=True)
        with _translate_os_errors():
            self._partial.mkdir(parents=True)

    def write_image(self, image: NDArray[np.uint8], pts: int) -> None:
        self._count += 1
        path = self._partial / f"{self._count:06}.{self._suffix}"
        body = encode(with_square_pixels(image, self._pixel_aspect), self._format)
        with _translate_os_errors():
            path.write_bytes(body)

    def write_audio(self, chunk: AudioChunk) -> None:
        """Ignores the audio, which a folder of images cannot hold."""

    def finish(self) -> None:
        older = self._folder.with_name(f".{self._folder.name}.older.part")
        with _translate_os_errors():
            if self._folder.exists():
                shutil.rmtree(older, ignore_errors=True)
                self._folder.rename(older)
            self._partial.rename(self._folder)
        shutil.rmtree(older, ignore_errors=True)

    def discard(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raises VideoError unless a folder for frames is new or empty, or `overwrite` may replace it.

    A folder with anything else than frames is never replaced.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise VideoError(f"{folder} is not a folder; the frames need an empty folder.")
    entries = list(folder.iterdir())
    if entries and not overwrite:
        raise VideoError(f"{folder} is not empty; the frames need an empty folder.")
    if not all(_FRAME_NAME.fullmatch(entry.name) for entry in entries):
        raise VideoError(f"{folder} has other files than frames; name another folder.")
