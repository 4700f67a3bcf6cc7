"""Reads upright frames and audio from a video file, in file order and a few at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from silhouette_seg.video.colour import frame_colours, to_sdr
from silhouette_seg.video.errors import VideoError, translate_av_errors
from silhouette_seg.video.orientation import (
    FrameShape,
    display_matrix,
    fit_into,
    rotate_upright,
    upright_shape,
)
from silhouette_seg.video.transparency import alpha_decoder, opacity
from silhouette_seg.vision.codec.header import ImageHeader, ImageLimits, InputFormat, check_limits


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One audio stream of the source video."""

    stream: AudioStream
    is_copied: bool
    """True: its packets are copied to the result. False: it is decoded and encoded again."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Properties of the source video that its result needs.

    The reader yields it before any frame.
    """

    time_base: Fraction
    """Length of a tick, the unit of timestamps, in seconds."""
    frame_rate: Fraction
    """Average frames per second."""
    colour_space: int
    """Conversion between YUV and RGB of the result, as libav's AVColorSpace number."""
    hdr_name: str | None
    """PQ or HLG if the video is in HDR and is converted to SDR, else None."""
    shape: FrameShape
    """Shape of the first frame, upright. Other frames are fitted into it."""
    duration_s: float | None
    """Duration in seconds; None if the file does not declare one."""
    audio_tracks: tuple[AudioTrack, ...]


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A decoded video frame, and its timestamp `pts` in ticks of `VideoInfo.time_base`."""

    frame: VideoFrame
    pts: int
    own: FrameShape
    """Shape of this frame, upright."""
    shape: FrameShape
    """Shape of the first frame, which `rgb` has for every frame."""

    def rgb(self) -> NDArray[np.uint8]:
        """Returns the upright image in SDR, uint8 RGB [h,w,3] of `shape`, never stretched.

        Raises VideoError if the colours of the frame are not supported.
        """
        upright = rotate_upright(to_sdr(self.frame), display_matrix(self.frame))
        return fit_into(upright, self.own, self.shape)

    def opacity(self) -> NDArray[np.uint8] | None:
        """Returns the opacity of `rgb`, uint8 [h,w] with 255 = opaque; None if all is opaque."""
        stored = opacity(self.frame)
        if stored is None:
            return None
        return fit_into(rotate_upright(stored, display_matrix(self.frame)), self.own, self.shape)


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A compressed packet or a decoded frame of one audio track."""

    track: int
    """Index in `VideoInfo.audio_tracks`."""
    data: "av.Packet[AudioStream] | av.AudioFrame"


class VideoReader:
    """Iterates once over a video file and yields its frames and its audio in file order.

    VideoInfo comes before the first frame; audio chunks may be anywhere. Times begin at 0, whatever
    the first time in the file is, and all streams are shifted by the same time. Audio in a codec of
    `copied_codecs` is yielded as packets, other audio is decoded; None skips all audio. One thread
    may use the reader at a time. Raises VideoError if the file is not a video or does not decode,
    and errors.ServiceError if a frame exceeds the limits.
    """

    def __init__(
        self, path: Path, limits: ImageLimits, copied_codecs: frozenset[str] | None
    ) -> None:
        self._limits = limits
        with translate_av_errors("The file is not a readable video"):
            # libav takes the name `a:b` for a protocol.
            self._container: InputContainer = av.open(f"file:{path}")
        try:
            self._video = _find_video_stream(self._container)
            self._check_size(self._video.width, self._video.height)
        except BaseException:
            self._container.close()
            raise
        self._decoder = alpha_decoder(self._video) or self._video.codec_context
        self._decoder.thread_type = "AUTO"
        self._tracks = (
            () if copied_codecs is None else tuple(_find_tracks(self._container, copied_codecs))
        )
        self._track_numbers = {track.stream.index: n for n, track in enumerate(self._tracks)}
        self._origin_s = _origin_s(self._video, self._tracks)
        self._shape: FrameShape | None = None
        self._last_pts: int | None = None

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def __iter__(self) -> Iterator[VideoInfo | DecodedFrame | AudioChunk]:
        streams = [self._video, *(track.stream for track in self._tracks)]
        with translate_av_errors("The video does not decode completely"):
            for packet in self._container.demux(streams):
                if packet.is_corrupt:
                    raise VideoError("The video is truncated or damaged.")
                if packet.stream.index == self._video.index:
                    yield from self._decode_frames(cast("av.Packet[VideoStream]", packet))
                else:
                    yield from self._read_audio(cast("av.Packet[AudioStream]", packet))
        if self._shape is None:
            raise VideoError("The video has no frames.")

    def _decode_frames(
        self, packet: "av.Packet[VideoStream]"
    ) -> Iterator[VideoInfo | DecodedFrame]:
        for frame in self._decoder.decode(packet if packet.size else None):
            self._check_size(frame.width, frame.height)
            own = upright_shape(frame, self._video.sample_aspect_ratio or Fraction(1))
            if self._shape is None:
                self._shape = own
                yield self._info(frame, own)
            yield DecodedFrame(frame, self._increasing_pts(frame), own, self._shape)

    def _info(self, first: VideoFrame, shape: FrameShape) -> VideoInfo:
        video, colours = self._video, frame_colours(first)
        assert video.time_base is not None
        return VideoInfo(
            time_base=video.time_base,
            frame_rate=video.average_rate or video.guessed_rate or Fraction(25),
            colour_space=colours.result_matrix,
            hdr_name=colours.hdr_name,
            shape=shape,
            duration_s=self._duration_s(),
            audio_tracks=self._tracks,
        )

    def _increasing_pts(self, frame: VideoFrame) -> int:
        """Returns the timestamp of a frame in ticks, always greater than that of the frame before.

        A timestamp that is missing or does not increase is replaced by the next possible one.
        """
        assert self._video.time_base is not None
        pts = frame.pts
        if pts is not None:
            pts -= round(self._origin_s / self._video.time_base)
        if self._last_pts is not None and (pts is None or pts <= self._last_pts):
            pts = self._last_pts + (1 if pts is not None else max(1, frame.duration))
        self._last_pts = pts or 0
        return self._last_pts

    def _read_audio(self, packet: "av.Packet[AudioStream]") -> Iterator[AudioChunk]:
        number = self._track_numbers[packet.stream.index]
        track = self._tracks[number]
        if not track.is_copied:
            for frame in track.stream.decode(packet):
                self._shift(frame)
                yield AudioChunk(number, frame)
        elif packet.dts is not None:  # the packet that ends the stream is empty
            self._shift(packet)
            yield AudioChunk(number, packet)

    def _shift(self, data: "av.Packet[AudioStream] | av.AudioFrame") -> None:
        """Moves a packet or frame of audio to the time that it has in the result."""
        assert data.time_base is not None
        ticks = round(self._origin_s / data.time_base)
        data.pts = None if data.pts is None else data.pts - ticks
        data.dts = None if data.dts is None else data.dts - ticks

    def _check_size(self, width: int, height: int) -> None:
        if not (width and height):
            raise VideoError("The video does not declare its size.")
        check_limits(ImageHeader(InputFormat.PNG, width, height), self._limits)

    def _duration_s(self) -> float | None:
        video = self._video
        if video.duration and video.time_base:
            return float(video.duration * video.time_base)
        total = self._container.duration
        return total / 1e6 if total else None


def _find_video_stream(container: InputContainer) -> VideoStream:
    """Returns the first video stream of a file that is not the cover picture of an album.

    Raises VideoError if the file has none, or if no decoder is available for its codec.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if not _is_decodable(stream):
                raise VideoError("No decoder is available for the codec of the video.")
            return stream
    raise VideoError("The file contains no video.")


def _find_tracks(container: InputContainer, copied_codecs: frozenset[str]) -> Iterator[AudioTrack]:
    for stream in container.streams.audio:
        if _is_decodable(stream):
            yield AudioTrack(stream, stream.codec_context.name in copied_codecs)


def _origin_s(video: VideoStream, tracks: Sequence[AudioTrack]) -> Fraction:
    """Returns the time in a file, in seconds, that becomes 0: that of its first frame or sound.

    Sound before 0 is no beginning: its samples only prepare the decoder.
    """
    starts = (_start_s(track.stream) for track in tracks)
    first_sound = min((start for start in starts if start is not None), default=None)
    first_frame = _start_s(video)
    if first_frame is None or first_sound is None:
        return first_frame or Fraction(0)
    return min(first_frame, max(first_sound, Fraction(0)))


def _start_s(stream: VideoStream | AudioStream) -> Fraction | None:
    """Returns the first time of a stream, in seconds; None if the file does not tell it."""
    if stream.start_time is None or stream.time_base is None:
        return None
    return stream.start_time * stream.time_base


def _is_decodable(stream: VideoStream | AudioStream) -> bool:
    """Returns whether libav has a decoder for a stream.

    PyAV has no codec context for a stream without one.
    """
    context: object = stream.codec_context
    return context is not None
