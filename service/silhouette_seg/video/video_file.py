"""Writes rendered frames and audio to a video file, all or nothing."""

from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from silhouette_seg.video.containers import ContainerFormat
from silhouette_seg.video.errors import VideoError, translate_av_errors
from silhouette_seg.video.orientation import with_square_pixels
from silhouette_seg.video.palette import PaletteFilter
from silhouette_seg.video.pixels import LIMITED_RANGE, to_bgra, to_rgb, to_yuv
from silhouette_seg.video.reader import AudioChunk, AudioTrack, VideoInfo

_WRITE_FAILED = "The video cannot be written"
_AUDIO_RATE_HZ = 48_000


class VideoWriter:
    """Writes rendered frames and audio to a video file. Methods raise VideoError if that fails.

    Frames are not collected: the memory is that of the encoders. Only that of WebP holds the
    compressed result until the end.
    """

    copied_codecs: frozenset[str] | None

    def __init__(self, path: Path, container: ContainerFormat) -> None:
        self.copied_codecs = container.copied_codecs
        self.notices = [] if container.notice is None else [container.notice]
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")
        self._container = container
        self._output: OutputContainer | None = None
        self._palette: PaletteFilter | None = None
        self._last_ticks: int | None = None
        self._left_out = 0

    def start(self, info: VideoInfo, image: NDArray[np.uint8]) -> None:
        # PyAV passes the pixel aspect to the muxers of MP4 and QuickTime only.
        keeps_aspect = self._container.keeps_pixel_aspect
        self._pixel_aspect = Fraction(1) if keeps_aspect else info.shape.pixel_aspect
        square = with_square_pixels(image, self._pixel_aspect)
        _check_side(self._container, max(square.shape[:2]))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with translate_av_errors(_WRITE_FAILED):
            self._output = av.open(
                f"file:{self._partial}",  # libav takes the name `a:b` for a protocol
                "w",
                format=self._container.format,
                options=self._container.options,
            )
            self._info = info
            self._video_stream = self._add_video_stream(info, square)
            self._audio_streams = [self._add_audio_stream(track) for track in info.audio_tracks]
            self._output.start_encoding()

    def write_image(self, image: NDArray[np.uint8], pts: int) -> None:
        ticks = round(pts * self._info.time_base / self._tick)
        if self._last_ticks is not None and ticks - self._last_ticks < self._container.min_ticks:
            self._left_out += 1
            return
        self._last_ticks = ticks
        with translate_av_errors(_WRITE_FAILED):
            frame = self._frame(image)
            frame.pts, frame.time_base = ticks, self._tick
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
        if self._left_out:
            least_ms = int(1000 * self._container.min_ticks * self._tick)
            self.notices.append(
                f"{self._left_out} frames are left out, because frames of"
                f" {self._container.format.upper()} last at least {least_ms} ms."
            )

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
        """Adds the stream of the frames. `image` is the first one, with its final size."""
        assert self._output is not None
        container = self._container
        options = container.video_options | (container.mask_options if image.ndim == 2 else {})
        stream = self._output.add_stream(
            container.video_codec, rate=info.frame_rate, options=options
        )
        assert isinstance(stream, VideoStream)
        even = ~1 if container.even_sides else ~0
        stream.height, stream.width = image.shape[0] & even, image.shape[1] & even
        stream.pix_fmt = container.pixel_format
        if image.ndim == 3 and image.shape[2] == 4:
            assert container.alpha_pixel_format is not None
            stream.pix_fmt = container.alpha_pixel_format
        self._tick = container.tick or info.time_base
        stream.time_base = stream.codec_context.time_base = self._tick
        stream.codec_context.sample_aspect_ratio = info.shape.pixel_aspect / self._pixel_aspect
        if stream.format.is_rgb or stream.format.has_palette:
            return stream
        context = stream.codec_context
        context.colorspace, context.color_range = info.colour_space, LIMITED_RANGE
        # Players convert other primaries: a background colour would not be shown as chosen.
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return stream

    def _add_audio_stream(self, track: AudioTrack) -> AudioStream:
        assert self._output is not None
        if track.is_copied:
            return self._output.add_stream_from_template(track.stream)
        assert self._container.audio_codec is not None
        stream = self._output.add_stream(self._container.audio_codec, rate=_AUDIO_RATE_HZ)
        assert isinstance(stream, AudioStream)
        stream.layout = "mono" if track.stream.channels == 1 else "stereo"
        return stream

    def _frame(self, image: NDArray[np.uint8]) -> VideoFrame:
        """Converts an image to a frame of the stream's size and pixel format."""
        stream = self._video_stream
        image = with_square_pixels(image, self._pixel_aspect)
        cropped = np.ascontiguousarray(image[: stream.height, : stream.width])
        match stream.pix_fmt:
            case "pal8":
                coloured = to_rgb(cropped)
                self._palette = self._palette or PaletteFilter(coloured)
                return self._palette.apply(coloured)
            case "bgra":
                return to_bgra(cropped)
            case pixel_format:
                assert pixel_format is not None
                return to_yuv(cropped, pixel_format, self._info.colour_space)


def _check_side(container: ContainerFormat, side: int) -> None:
    """Raises VideoError if the longer side of a frame, in pixels, exceeds that of the format."""
    if container.max_side is not None and side > container.max_side:
        name = container.format.upper()
        raise VideoError(f"A side of {name} has at most {container.max_side} pixels, not {side}.")
