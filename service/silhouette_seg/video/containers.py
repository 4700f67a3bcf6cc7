"""Describes the kinds of video files that are written: codecs, pixel formats and limits."""

from dataclasses import dataclass, field
from fractions import Fraction

from silhouette_seg.vision.codec.encode import MAX_SIDES
from silhouette_seg.vision.codec.header import ImageFormat


@dataclass(frozen=True, slots=True)
class ContainerFormat:
    """Codecs and options of one kind of video file, by libav's names."""

    format: str
    video_codec: str
    video_options: dict[str, str]
    pixel_format: str
    """Pixel format of frames without transparency."""
    alpha_pixel_format: str | None
    """Pixel format of frames with transparency; None: the file cannot hold it."""
    audio_codec: str | None
    """Codec that encodes audio that is not copied; None: the file has no sound."""
    copied_codecs: frozenset[str] | None
    """Codecs of audio that the container accepts; its packets are copied unchanged.

    None: the file has no sound.
    """
    options: dict[str, str]
    mask_options: dict[str, str] = field(default_factory=dict)
    """More options of the video codec for grey frames."""
    even_sides: bool = False
    """True: both sides of a frame must be even, so an odd last row or column is dropped."""
    keeps_pixel_aspect: bool = False
    """True: pixels need not be square. False: frames are scaled to square pixels."""
    max_side: int | None = None
    """Longest side of a frame, in pixels; None: no limit below that of the settings."""
    tick: Fraction | None = None
    """Unit of time in seconds, to which times are rounded; None: that of the source."""
    min_ticks: int = 1
    """Least time between two frames, in ticks. A frame that follows sooner is left out.

    Browsers show a frame of an animation for 100 ms if it declares 10 ms or less.
    """
    notice: str | None = None
    """Sentence for the user about a property of every such file; None for nothing special."""


MP4 = ContainerFormat(
    format="mp4",
    video_codec="libx264",
    video_options={"crf": "20", "preset": "veryfast"},
    pixel_format="yuv420p",
    alpha_pixel_format=None,
    audio_codec="aac",
    copied_codecs=frozenset({"aac", "ac3", "alac", "eac3", "mp3", "mp3float", "opus"}),
    options={"movflags": "faststart"},
    even_sides=True,
    keeps_pixel_aspect=True,
)
MOV = ContainerFormat(
    format="mov",
    video_codec="prores_ks",
    video_options={"profile": "4444", "vendor": "apl0"},
    pixel_format="yuv444p10le",
    alpha_pixel_format="yuva444p10le",
    audio_codec="pcm_s16le",
    copied_codecs=frozenset(
        {"aac", "ac3", "alac", "eac3", "mp3", "mp3float"}
        | {"pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le"}
    ),
    options={"movflags": "faststart"},
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
    pixel_format="yuv420p",
    alpha_pixel_format="yuva420p",
    audio_codec="libopus",
    copied_codecs=frozenset({"opus", "vorbis"}),
    options={},
)
WEBP = ContainerFormat(
    format="webp",
    video_codec="libwebp_anim",
    video_options={"quality": "90", "compression_level": "2"},
    pixel_format="bgra",
    alpha_pixel_format="bgra",
    audio_codec=None,
    copied_codecs=None,
    options={"loop": "0"},
    mask_options={"lossless": "1", "compression_level": "0", "quality": "50"},
    max_side=MAX_SIDES[ImageFormat.WEBP],
    tick=Fraction(1, 1000),
    min_ticks=11,
)
GIF = ContainerFormat(
    format="gif",
    video_codec="gif",
    video_options={},
    pixel_format="pal8",
    alpha_pixel_format="pal8",
    audio_codec=None,
    copied_codecs=None,
    options={"loop": "0"},
    tick=Fraction(1, 100),
    min_ticks=2,
    notice="GIF has 256 colours a frame, and every pixel is either opaque or clear.",
)
CONTAINERS = {".mp4": MP4, ".mov": MOV, ".webm": WEBM, ".webp": WEBP, ".gif": GIF}
"""Kinds of video files that can be written, by suffix."""
