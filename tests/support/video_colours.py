"""Videos of plain colours with declared or missing colour tags, written by PyAV alone."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Rgb = tuple[float, float, float]
"""Red, green and blue, 0..1."""
LUMA_WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Weights of red and blue in luma, by the H.273 number of the matrix."""


@dataclass(frozen=True)
class Tags:
    """H.273 numbers of a video's colours; 2 is undeclared."""

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2


UNTAGGED = Tags()


def ycbcr(rgb: Rgb, matrix: int) -> NDArray[np.float64]:
    """Returns Y, 0..1, and both chroma values, -0.5..0.5."""
    red, blue = LUMA_WEIGHTS[matrix]
    luma = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]
    return np.array([luma, (rgb[2] - luma) / 2 / (1 - blue), (rgb[0] - luma) / 2 / (1 - red)])


def colour_frame(
    rgb: Rgb, matrix: int, tags: Tags, hw: tuple[int, int] = (32, 32)
) -> av.VideoFrame:
    """Returns a frame of one colour, 10 bit and limited range, coded with `matrix`."""
    frame = av.VideoFrame(hw[1], hw[0], "yuv420p10le")
    y, u, v = ycbcr(rgb, matrix)
    for plane, level in zip(
        frame.planes, (64 + 876 * y, 512 + 896 * u, 512 + 896 * v), strict=True
    ):
        plane.update(np.full((plane.height, plane.line_size // 2), round(level), np.uint16))
    frame.colorspace, frame.color_primaries = tags.matrix, tags.primaries
    frame.color_trc, frame.color_range = tags.transfer, 1
    return frame


def make_colour_video(
    path: Path, rgb: Rgb, matrix: int, tags: Tags, hw: tuple[int, int], *, codec: str = "libx264"
) -> None:
    """Writes three frames of one colour, coded with `matrix` and declared as `tags` say."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"crf": "4", "preset": "ultrafast"})
        stream.height, stream.width = hw
        stream.pix_fmt = "yuv420p10le" if codec == "libx265" else "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_primaries = tags.matrix, tags.primaries
        context.color_trc = tags.transfer
        for number in range(3):
            frame = colour_frame(rgb, matrix, tags, hw).reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def declared(path: Path) -> tuple[Tags, int]:
    """Returns the colours that a video declares, and its range: 1 is limited."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        tags = Tags(context.colorspace, context.color_primaries, context.color_trc)
        return tags, context.color_range
