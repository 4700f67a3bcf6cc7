"""A video file to upright frames and sound, in the order of the file; a few at a time in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from struct import unpack
from typing import cast

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.buffer import Buffer
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from cv2.typing import MatLike
from numpy.typing import NDArray

from silhouette_seg.video.errors import VideoError, video_errors
from silhouette_seg.vision.codec.header import ImageFormat, ImageHeader, ImageLimits, check_limits

UNSPECIFIED = 2
"""AVColorSpace of a stream that does not say."""
_KNOWN = frozenset({1, 5, 6, 7, 9})
"""Those that pixels are converted from and back to: BT.709, 601, 2020 and their kin."""

Matrix = tuple[int, ...]
"""The nine numbers of a display matrix, row by row."""


@dataclass(frozen=True, slots=True)
class Track:
    """The sound of a video: as packets, or decoded."""

    stream: AudioStream
    copied: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What a copy of the video has to know; comes before the first frame."""

    time_base: Fraction
    """Seconds of one tick."""
    rate: Fraction
    """Frames a second, on average."""
    colour_space: int
    """AVColorSpace."""
    sample_aspect: Fraction
    """Width of a pixel over its height, upright."""
    duration_s: float | None
    """None where the file does not say."""
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class Still:
    """One frame, `pts` ticks after the beginning of the file's clock."""

    frame: VideoFrame
    pts: int
    stored_wh: tuple[int, int]
    """Of the first frame; one of another size is scaled to it."""

    def rgb(self) -> NDArray[np.uint8]:
        """Upright uint8 [h,w,3]."""
        width, height = self.stored_wh
        rgb = self.frame.to_ndarray(format="rgb24", width=width, height=height)
        return upright(np.asarray(rgb, np.uint8), matrix_of(self.frame))


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of the sound of the track of that number."""

    track: int
    sound: "av.Packet[AudioStream] | av.AudioFrame"


class VideoReader:
    """Iterate over it once: Facts before the first Still, and what is Heard in between.

    Sound in a codec of `copies` comes as packets, other sound decoded; with None there is no
    sound. Belongs to one thread at a time. Raises VideoError for a file that is no video, and
    errors.ServiceError for frames beyond the limits.
    """

    def __init__(self, path: Path, limits: ImageLimits, copies: frozenset[str] | None) -> None:
        self._limits = limits
        with video_errors("This is not a video that can be read"):
            self._container: InputContainer = av.open(str(path))
        try:
            self._video = _picture_stream(self._container)
            self._check_size(self._video.width, self._video.height)
        except BaseException:
            self._container.close()
            raise
        self._video.thread_type = "AUTO"
        self._tracks = () if copies is None else tuple(_tracks(self._container, copies))
        self._number = {track.stream.index: n for n, track in enumerate(self._tracks)}
        self._first: VideoFrame | None = None
        self._last_pts: int | None = None

    def close(self) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Facts | Still | Heard]:
        streams = [self._video, *(track.stream for track in self._tracks)]
        with video_errors("The video does not decode whole"):
            for packet in self._container.demux(streams):
                if packet.is_corrupt:
                    raise VideoError("The video is cut short or damaged.")
                if packet.stream.index == self._video.index:
                    yield from self._seen(cast("av.Packet[VideoStream]", packet))
                else:
                    yield from self._heard(cast("av.Packet[AudioStream]", packet))
        if self._first is None:
            raise VideoError("There is no frame in the video.")

    def _seen(self, packet: "av.Packet[VideoStream]") -> Iterator[Facts | Still]:
        for frame in self._video.decode(packet):
            self._check_size(frame.width, frame.height)
            if self._first is None:
                self._first = frame
                yield self._facts(frame)
            yield Still(frame, self._time(frame), (self._first.width, self._first.height))

    def _facts(self, first: VideoFrame) -> Facts:
        video = self._video
        assert video.time_base is not None
        aspect = video.sample_aspect_ratio or Fraction(1)
        space = int(first.colorspace)
        return Facts(
            time_base=video.time_base,
            rate=video.average_rate or video.guessed_rate or Fraction(25),
            colour_space=space if space in _KNOWN else UNSPECIFIED,
            sample_aspect=1 / aspect if is_turned(matrix_of(first)) else aspect,
            duration_s=self._duration_s(),
            tracks=self._tracks,
        )

    def _time(self, frame: VideoFrame) -> int:
        """Its own; for a frame that has none, or that does not come after the last, the next."""
        pts = frame.pts
        if self._last_pts is not None and (pts is None or pts <= self._last_pts):
            pts = self._last_pts + (1 if pts is not None else max(1, frame.duration))
        self._last_pts = pts or 0
        return self._last_pts

    def _heard(self, packet: "av.Packet[AudioStream]") -> Iterator[Heard]:
        number = self._number[packet.stream.index]
        track = self._tracks[number]
        if not track.copied:
            for frame in track.stream.decode(packet):
                yield Heard(number, frame)
        elif packet.dts is not None:  # the last one is empty
            yield Heard(number, packet)

    def _check_size(self, width: int, height: int) -> None:
        if not (width and height):
            raise VideoError("The video does not say how large it is.")
        check_limits(ImageHeader(ImageFormat.PNG, width, height), self._limits)

    def _duration_s(self) -> float | None:
        video = self._video
        if video.duration and video.time_base:
            return float(video.duration * video.time_base)
        total = self._container.duration
        return total / 1e6 if total else None


def _picture_stream(container: InputContainer) -> VideoStream:
    """The first that is no cover of an album."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if not _is_decodable(stream):
                raise VideoError("The codec of the video is not one that can be read.")
            return stream
    raise VideoError("There is no video in the file.")


def _tracks(container: InputContainer, copies: frozenset[str]) -> Iterator[Track]:
    for stream in container.streams.audio:
        if _is_decodable(stream):
            yield Track(stream, stream.codec_context.name in copies)


def _is_decodable(stream: VideoStream | AudioStream) -> bool:
    """PyAV leaves the context out where libav has no decoder."""
    context: object = stream.codec_context
    return context is not None


def matrix_of(frame: VideoFrame) -> Matrix | None:
    """How to turn the stored picture upright; None for not at all."""
    found = cast("Buffer | None", frame.side_data.get("DISPLAYMATRIX"))
    return None if found is None else unpack("=9i", bytes(found))


def is_turned(matrix: Matrix | None) -> bool:
    """Whether width and height change places."""
    return matrix is not None and abs(matrix[1]) > abs(matrix[0])


def upright(stored: NDArray[np.uint8], matrix: Matrix | None) -> NDArray[np.uint8]:
    """The nearest of the eight orientations: x' = a x + c y, y' = b x + d y."""
    if matrix is None:
        return stored
    a, b, _, c, d = matrix[:5]
    across, down = (c, b) if is_turned(matrix) else (a, d)
    picture: MatLike = cv2.transpose(stored) if is_turned(matrix) else stored
    if across < 0 or down < 0:
        picture = cv2.flip(picture, -1 if across < 0 and down < 0 else int(across < 0))
    return np.asarray(picture, np.uint8)
