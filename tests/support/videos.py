"""Videos for tests, written and read by PyAV alone: a red bar that grows to the right."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

TICK = Fraction(1, 90_000)
"""Time base of the videos, in seconds."""
AUDIO_RATE_HZ = 48_000
"""Audio samples in a second."""
SIZE_HW = (48, 64)
_H264 = ("libx264", "aac")
CODECS = {
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".mkv", ".mts", ".m2ts", ".3gp"), _H264),
    ".webm": ("libvpx-vp9", "libopus"),
    ".avi": ("mpeg4", None),
}
FAST = {"libx264": {"preset": "ultrafast"}, "libvpx-vp9": {"cpu-used": "8", "deadline": "realtime"}}


def bar_frame(number: int, hw: tuple[int, int] = SIZE_HW) -> NDArray[np.uint8]:
    """Returns frame `number`, with `8 + number` red columns on black."""
    image = np.zeros((*hw, 3), np.uint8)
    image[:, : 8 + number, 0] = 255
    return image


def uneven_times(count: int) -> list[int]:
    """Returns frame times in ticks, between 33 and 50 ms apart."""
    return np.cumsum([0, *(3000 + 777 * (n % 3) for n in range(count - 1))]).tolist()


def make_video(
    path: Path,
    times: list[int] | None = None,
    *,
    sound: bool = False,
    sound_start_s: Fraction = Fraction(0),
    rotation: int | None = None,
    mirrored: bool = False,
    pixel_aspect: Fraction = Fraction(1),
    hw: tuple[int, int] = SIZE_HW,
    options: dict[str, str] | None = None,
) -> list[Fraction]:
    """Writes a video and returns the presentation times of its frames, in seconds."""
    times = uneven_times(12) if times is None else times
    video, audio = CODECS[path.suffix]
    # libav writes raw MPEG-4 for this suffix, without times.
    format = "mp4" if path.suffix == ".m4v" else None
    with av.open(str(path), "w", format=format, options=options or {}) as out:
        stream = out.add_stream(video, rate=25, options=FAST.get(video, {}))
        stream.height, stream.width, stream.pix_fmt = *hw, "yuv420p"
        tick = Fraction(1, 25) if path.suffix == ".avi" else TICK
        stream.time_base = stream.codec_context.time_base = tick
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=mirrored)
        sound_stream = out.add_stream(audio, rate=AUDIO_RATE_HZ, layout="mono") if sound else None
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(bar_frame(number, hw), "rgb24")
            frame.pts, frame.time_base = time, tick
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound_stream is not None:
            out.mux(sound_stream.encode(sine_audio(sound_start_s)))
            out.mux(sound_stream.encode(None))
    return [time * tick for time in times]


def make_transparent_video(path: Path, images: list[NDArray[np.uint8]]) -> None:
    """Writes RGBA images without loss of alpha: QuickTime Animation as .mov, VP9 as .webm."""
    codec, pixel_format = {
        ".mov": ("qtrle", "argb"),
        ".webm": ("libvpx-vp9", "yuva420p"),
    }[path.suffix]
    with av.open(str(path), "w") as out:
        options = {"lossless": "1"} if path.suffix == ".webm" else {}
        stream = out.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], pixel_format
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, "rgba").reformat(format=pixel_format)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def sine_audio(start_s: Fraction = Fraction(0)) -> av.AudioFrame:
    """Returns half a second of 440 Hz that begins at `start_s`."""
    wave = 8000 * np.sin(2 * np.pi * 440 * np.arange(AUDIO_RATE_HZ // 2) / AUDIO_RATE_HZ)
    frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], "s16", "mono")
    frame.sample_rate, frame.time_base = AUDIO_RATE_HZ, Fraction(1, AUDIO_RATE_HZ)
    frame.pts = round(start_s * AUDIO_RATE_HZ)
    return frame


@dataclass(frozen=True)
class VideoContent:
    """Decoded frames of a video with their times in seconds."""

    codec: str
    times: list[Fraction]
    frames: list[NDArray[Any]]


def read_video(path: Path, format: str = "rgb24") -> VideoContent:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return VideoContent(
            stream.codec_context.name,
            [frame.pts * frame.time_base for frame in frames],
            [frame.to_ndarray(format=format) for frame in frames],
        )


def read_alpha_video(path: Path) -> list[NDArray[Any]]:
    """Returns the frames as RGBA. Only libvpx's own decoder reads the alpha of VP9."""
    with av.open(str(path)) as container:
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        return [
            frame.to_ndarray(format="rgba")
            for packet in container.demux(container.streams.video[0])
            for frame in decoder.decode(packet if packet.size else None)
        ]


def audio_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def read_audio(path: Path) -> tuple[str, NDArray[np.float32]]:
    """Returns the name of the codec, and the samples as mono float32."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        name = container.streams.audio[0].codec_context.name
        return name, np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])


def sound_start_s(path: Path) -> float:
    """Returns the time of the first loud sample, in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    assert frames[0].pts is not None
    assert frames[0].time_base is not None
    samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    loud = np.abs(samples.astype(np.float64)) > 0.1 * np.abs(samples).max()
    return float(frames[0].pts * frames[0].time_base) + int(loud.argmax()) / frames[0].sample_rate


def disc_frame(hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns a red disc on black, with a diameter of three quarters of the short side."""
    y, x = np.mgrid[: hw[0], : hw[1]]
    image = np.zeros((*hw, 3), np.uint8)
    image[np.hypot(y - hw[0] / 2 + 0.5, x - hw[1] / 2 + 0.5) < 0.375 * min(hw), 0] = 255
    return image


def make_turned_video(path: Path, sizes_hw: list[tuple[int, int]], each: int = 4) -> None:
    """Writes a disc in `each` frames of every size, as when the phone is turned meanwhile."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.height, stream.width = sizes_hw[0]
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 25)
        out.start_encoding()
        for turn, hw in enumerate(sizes_hw):
            encoder = av.CodecContext.create("libx264", "w")
            encoder.height, encoder.width, encoder.pix_fmt = *hw, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 25), 25
            encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "8"}
            frames = []
            for number in range(turn * each, (turn + 1) * each):
                frame = av.VideoFrame.from_ndarray(disc_frame(hw), "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                frames.append(frame)
            for packet in (packet for one in [*frames, None] for packet in encoder.encode(one)):
                packet.stream = stream
                out.mux(packet)
