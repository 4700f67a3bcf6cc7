"""Drawn frames and sound into a video file, or frames into a folder; whole or not at all."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from silhouette_seg.video.errors import VideoError, video_errors
from silhouette_seg.video.reader import Facts, Heard, Track
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.codec.header import ImageFormat


@dataclass(frozen=True, slots=True)
class Container:
    """What a kind of file holds, and how its pictures are compressed."""

    format: str
    video: str
    video_options: dict[str, str]
    audio: str
    """For sound that is not in `copies`."""
    copies: frozenset[str]
    """Codecs whose packets go over as they are."""
    options: dict[str, str]
    even: bool = False
    """Both sides must be: the last row or column is left out."""


MP4 = Container(
    format="mp4",
    video="libx264",
    video_options={"crf": "20", "preset": "veryfast"},
    audio="aac",
    copies=frozenset({"aac", "ac3", "alac", "eac3", "mp3", "mp3float", "opus"}),
    options={"movflags": "faststart"},
    even=True,
)
WEBM = Container(
    format="webm",
    video="libvpx-vp9",
    video_options={
        "crf": "28",
        "b": "0",
        "deadline": "good",
        "cpu-used": "5",
        "row-mt": "1",
    },
    audio="libopus",
    copies=frozenset({"opus", "vorbis"}),
    options={},
)
CONTAINERS = {".mp4": MP4, ".webm": WEBM}
_LIMITED, _FULL = 1, 2
"""AVColorRange: what players expect, and what pixels are."""
_FAILED = "The video cannot be written"
_AUDIO_RATE = 48_000


@contextmanager
def _writing_frames() -> Iterator[None]:
    """The system's errors as ours."""
    try:
        yield
    except OSError as error:
        raise VideoError(f"The frames cannot be written: {error.strerror}.") from error


def writer_for(result: Path, format: ImageFormat) -> "Writer":
    """For a file by its suffix, else a folder of pictures of `format`; raises VideoError."""
    container = CONTAINERS.get(result.suffix.lower())
    return VideoWriter(result, container) if container else SequenceWriter(result, format)


class Writer(Protocol):
    """Where drawn frames go. Belongs to one thread at a time."""

    copies: frozenset[str] | None
    """Audio codecs that it takes as packets; None: it takes no sound."""

    def start(self, facts: Facts, image: NDArray[np.uint8]) -> None:
        """For a video whose frames will all be like this one."""
        ...

    def write(self, image: NDArray[np.uint8], pts: int) -> None:
        """uint8 [h,w], [h,w,3] or [h,w,4], in order."""
        ...

    def hear(self, heard: Heard) -> None: ...

    def finish(self) -> None:
        """Everything was written: the result takes its place."""
        ...

    def abandon(self) -> None:
        """Leaves nothing behind. After `finish` it does nothing."""
        ...


class SequenceWriter:
    """`000001.png`, `000002.png`, ... in a folder of their own.

    Raises VideoError, also where there is something in it already.
    """

    copies: frozenset[str] | None = None

    def __init__(self, folder: Path, format: ImageFormat) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise VideoError(f"{folder} holds something already; the frames need an empty folder.")
        self._folder = folder
        self._partial = folder.with_name(f".{folder.name}.part")
        self._suffix = "jpg" if format is ImageFormat.JPEG else format.value
        self._format = format
        self._count = 0

    def start(self, facts: Facts, image: NDArray[np.uint8]) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)
        with _writing_frames():
            self._partial.mkdir(parents=True)

    def write(self, image: NDArray[np.uint8], pts: int) -> None:
        self._count += 1
        path = self._partial / f"{self._count:06}.{self._suffix}"
        body = encode(image, self._format)
        with _writing_frames():
            path.write_bytes(body)

    def hear(self, heard: Heard) -> None:
        """Pictures are silent."""

    def finish(self) -> None:
        if self._folder.exists():
            self._folder.rmdir()
        self._partial.rename(self._folder)

    def abandon(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)


class VideoWriter:
    """A video file; what it holds in memory is what its encoders do. Raises VideoError."""

    copies: frozenset[str] | None

    def __init__(self, path: Path, container: Container) -> None:
        self.copies = container.copies
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")
        self._container = container
        self._out: OutputContainer | None = None

    def start(self, facts: Facts, image: NDArray[np.uint8]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with video_errors(_FAILED):
            self._out = av.open(
                str(self._partial),
                "w",
                format=self._container.format,
                options=self._container.options,
            )
            self._facts = facts
            self._picture = self._add_picture(facts, image)
            self._sounds = [self._add_sound(track) for track in facts.tracks]
            self._out.start_encoding()

    def write(self, image: NDArray[np.uint8], pts: int) -> None:
        with video_errors(_FAILED):
            frame = self._frame(image)
            frame.pts, frame.time_base = pts, self._facts.time_base
            self._mux(self._picture.encode(frame))

    def hear(self, heard: Heard) -> None:
        stream, sound = self._sounds[heard.track], heard.sound
        with video_errors(_FAILED):
            if isinstance(sound, av.Packet):
                sound.stream = stream
                self._mux([sound])
            else:
                self._mux(stream.encode(sound))

    def finish(self) -> None:
        assert self._out is not None
        with video_errors(_FAILED):
            self._mux(self._picture.encode(None))
            for stream, track in zip(self._sounds, self._facts.tracks, strict=True):
                if not track.copied:
                    self._mux(stream.encode(None))
            self._out.close()
        self._partial.replace(self._path)
        self._out = None

    def abandon(self) -> None:
        if self._out is None:
            return
        with suppress(av.FFmpegError):  # as where the disk is full
            self._out.close()
        self._partial.unlink(missing_ok=True)
        self._out = None

    def _mux(self, packets: "Sequence[av.Packet[Any]]") -> None:
        assert self._out is not None
        self._out.mux(packets)

    def _add_picture(self, facts: Facts, image: NDArray[np.uint8]) -> VideoStream:
        assert self._out is not None
        options = self._container.video_options
        stream = self._out.add_stream(self._container.video, rate=facts.rate, options=options)
        assert isinstance(stream, VideoStream)
        even = ~1 if self._container.even else ~0
        stream.height, stream.width = image.shape[0] & even, image.shape[1] & even
        stream.pix_fmt = "yuva420p" if image.ndim == 3 and image.shape[2] == 4 else "yuv420p"
        stream.time_base = facts.time_base
        context = stream.codec_context
        context.time_base = facts.time_base
        context.sample_aspect_ratio = facts.sample_aspect
        context.colorspace, context.color_range = facts.colour_space, _LIMITED
        return stream

    def _add_sound(self, track: Track) -> AudioStream:
        assert self._out is not None
        if track.copied:
            return self._out.add_stream_from_template(track.stream)
        stream = self._out.add_stream(self._container.audio, rate=_AUDIO_RATE)
        assert isinstance(stream, AudioStream)
        stream.layout = "mono" if track.stream.channels == 1 else "stereo"
        return stream

    def _frame(self, image: NDArray[np.uint8]) -> VideoFrame:
        kind = {2: "gray", 3: "rgb24", 4: "rgba"}[image.shape[2] if image.ndim == 3 else 2]
        picture = self._picture
        cut = np.ascontiguousarray(image[: picture.height, : picture.width])
        return VideoFrame.from_ndarray(cut, kind).reformat(
            format=picture.pix_fmt,
            dst_colorspace=self._facts.colour_space,
            src_color_range=_FULL,
            dst_color_range=_LIMITED,
        )
