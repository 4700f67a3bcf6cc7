"""Writes rendered frames and audio to a video file, or frames to a folder, all or nothing."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from silhouette_seg.video.colour import swscale_matrix
from silhouette_seg.video.errors import VideoError, translate_av_errors
from silhouette_seg.video.orientation import with_square_pixels
from silhouette_seg.video.reader import AudioChunk, AudioTrack, VideoInfo
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.codec.header import ImageFormat


@dataclass(frozen=True, slots=True)
class ContainerFormat:
    """Codecs and options of one kind of video file, by libav's names."""

    format: str
    video_codec: str
    video_options: dict[str, str]
    audio_codec: str
    """Codec that encodes audio that is not copied."""
    copied_codecs: frozenset[str]
    """Codecs of audio that the container accepts; its packets are copied unchanged."""
    options: dict[str, str]
    even_sides: bool = False
    """True: both sides of a frame must be even, so an odd last row or column is dropped."""
    keeps_pixel_aspect: bool = False
    """True: pixels need not be square. False: frames are scaled to square pixels."""


MP4 = ContainerFormat(
    format="mp4",
    video_codec="libx264",
    video_options={"crf": "20", "preset": "veryfast"},
    audio_codec="aac",
    copied_codecs=frozenset({"aac", "ac3", "alac", "eac3", "mp3", "mp3float", "opus"}),
    options={"movflags": "faststart"},
    even_sides=True,
    keeps_pixel_aspect=True,
)
WEBM = ContainerFormat(
    format="webm",
    video_codec="libvpx-vp9",
    video_options={
        "crf": "28",
        "b": "0",
        "deadline": "good",
        "cpu-used": "5",
        "row-mt": "1",
    },
    audio_codec="libopus",
    copied_codecs=frozenset({"opus", "vorbis"}),
    options={},
)
CONTAINERS = {".mp4": MP4, ".webm": WEBM}
_LIMITED_RANGE, _FULL_RANGE = 1, 2
"""Values of libav's AVColorRange.

Players expect the limited range; RGB pixels have the full one.
"""
_WRITE_FAILED = "The video cannot be written"
_AUDIO_RATE_HZ = 48_000
_FRAME_NAME = re.compile(r"\d{6,}\.(jpg|png|webp|avif)")
"""File names of the frames in a folder."""


@contextmanager
def _translate_os_errors() -> Iterator[None]:
    """Context manager that raises VideoError for an error of the file system."""
    try:
        yield
    except OSError as error:
        raise VideoError(f"The frames cannot be written: {error.strerror}.") from error


def make_writer(result: Path, format: ImageFormat, *, overwrite: bool = False) -> "FrameWriter":
    """Returns a writer of a video file for a path with the suffix .mp4 or .webm.

    For any other path it writes images of `format` into a folder. Raises VideoError if that folder
    exists and is not empty, unless `overwrite` is set and it has nothing but frames.
    """
    if container := CONTAINERS.get(result.suffix.lower()):
        return VideoWriter(result, container)
    return SequenceWriter(result, format, overwrite=overwrite)


class FrameWriter(Protocol):
    """Destination of rendered frames and audio. Methods raise VideoError if writing fails.

    One thread may use it at a time.
    """

    copied_codecs: frozenset[str] | None
    """Audio codecs with packets that are copied. None: the writer ignores audio."""

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


class VideoWriter:
    """Writes rendered frames and audio to a video file. Methods raise VideoError if that fails.

    Frames are not collected: the memory is that of the encoders.
    """

    copied_codecs: frozenset[str] | None

    def __init__(self, path: Path, container: ContainerFormat) -> None:
        self.copied_codecs = container.copied_codecs
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")
        self._container = container
        self._output: OutputContainer | None = None

    def start(self, info: VideoInfo, image: NDArray[np.uint8]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with translate_av_errors(_WRITE_FAILED):
            self._output = av.open(
                str(self._partial),
                "w",
                format=self._container.format,
                options=self._container.options,
            )
            self._info = info
            # PyAV passes the pixel aspect to the muxer of MP4 only.
            keeps_aspect = self._container.keeps_pixel_aspect
            self._pixel_aspect = Fraction(1) if keeps_aspect else info.shape.pixel_aspect
            square = with_square_pixels(image, self._pixel_aspect)
            self._video_stream = self._add_video_stream(info, square)
            self._audio_streams = [self._add_audio_stream(track) for track in info.audio_tracks]
            self._output.start_encoding()

    def write_image(self, image: NDArray[np.uint8], pts: int) -> None:
        with translate_av_errors(_WRITE_FAILED):
            frame = self._frame(image)
            frame.pts, frame.time_base = pts, self._info.time_base
            self._mux(self._video_stream.encode(frame))

    def write_audio(self, chunk: AudioChunk) -> None:
        stream, data = self._audio_streams[chunk.track], chunk.data
        with translate_av_errors(_WRITE_FAILED):
            if isinstance(data, av.Packet):
                data.stream = stream
                self._mux([data])
            else:
                self._mux(stream.encode(data))

    def finish(self) -> None:
        assert self._output is not None
        with translate_av_errors(_WRITE_FAILED):
            self._mux(self._video_stream.encode(None))
            for stream, track in zip(self._audio_streams, self._info.audio_tracks, strict=True):
                if not track.is_copied:
                    self._mux(stream.encode(None))
            self._output.close()
        self._partial.replace(self._path)
        self._output = None

    def discard(self) -> None:
        if self._output is None:
            return
        with suppress(av.FFmpegError):  # for example when the disk is full
            self._output.close()
        self._partial.unlink(missing_ok=True)
        self._output = None

    def _mux(self, packets: "Sequence[av.Packet[Any]]") -> None:
        assert self._output is not None
        self._output.mux(packets)

    def _add_video_stream(self, info: VideoInfo, image: NDArray[np.uint8]) -> VideoStream:
        assert self._output is not None
        options = self._container.video_options
        stream = self._output.add_stream(
            self._container.video_codec, rate=info.frame_rate, options=options
        )
        assert isinstance(stream, VideoStream)
        even = ~1 if self._container.even_sides else ~0
        stream.height, stream.width = image.shape[0] & even, image.shape[1] & even
        stream.pix_fmt = "yuva420p" if image.ndim == 3 and image.shape[2] == 4 else "yuv420p"
        stream.time_base = info.time_base
        context = stream.codec_context
        context.time_base = info.time_base
        context.sample_aspect_ratio = info.shape.pixel_aspect / self._pixel_aspect
        context.colorspace, context.color_range = info.colour_space, _LIMITED_RANGE
        # Players convert other primaries: a background colour would not be shown as chosen.
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return stream

    def _add_audio_stream(self, track: AudioTrack) -> AudioStream:
        assert self._output is not None
        if track.is_copied:
            return self._output.add_stream_from_template(track.stream)
        stream = self._output.add_stream(self._container.audio_codec, rate=_AUDIO_RATE_HZ)
        assert isinstance(stream, AudioStream)
        stream.layout = "mono" if track.stream.channels == 1 else "stereo"
        return stream

    def _frame(self, image: NDArray[np.uint8]) -> VideoFrame:
        pixel_format = {2: "gray", 3: "rgb24", 4: "rgba"}[image.shape[2] if image.ndim == 3 else 2]
        stream = self._video_stream
        image = with_square_pixels(image, self._pixel_aspect)
        cropped = np.ascontiguousarray(image[: stream.height, : stream.width])
        frame = VideoFrame.from_ndarray(cropped, pixel_format).reformat(
            format=stream.pix_fmt,
            dst_colorspace=swscale_matrix(self._info.colour_space),
            src_color_range=_FULL_RANGE,
            dst_color_range=_LIMITED_RANGE,
        )
        if pixel_format == "rgba":
            # libswscale raises the alpha values 128..254 by one.
            plane = frame.planes[3]
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
            rows[:, : plane.width] = cropped[..., 3]
        return frame
