"""Reduces frames to 256 colours for GIF, with libav's filters."""

from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from silhouette_seg.video.pixels import rgb_format

_OPAQUE_FROM = 128
"""Least alpha of a pixel that stays, as an opaque one. Others become clear."""
_TICK = Fraction(1, 100)
"""Time base of the filters, which need one. Frames leave them as they enter, one by one."""


class PaletteFilter:
    """Filter that gives each frame a palette of its own, of 255 colours and a clear one.

    All frames have the size and the channels of `first`, uint8 [h,w,3] or [h,w,4].
    """

    def __init__(self, first: NDArray[np.uint8]) -> None:
        height, width = first.shape[:2]
        self._pixel_format = rgb_format(first)
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=width, height=height, format=VideoFormat(self._pixel_format), time_base=_TICK
        )
        split = self._graph.add("split")
        generate = self._graph.add("palettegen", "stats_mode=single:reserve_transparent=1")
        use = self._graph.add("paletteuse", f"new=1:alpha_threshold={_OPAQUE_FROM}")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(generate, 1, 0)
        generate.link_to(use, 0, 1)
        use.link_to(self._graph.add("buffersink"))
        self._graph.configure()
        self._count = 0

    def apply(self, image: NDArray[np.uint8]) -> VideoFrame:
        """Returns the frame, in libav's format pal8, of an image, uint8 [h,w,3] or [h,w,4]."""
        frame = VideoFrame.from_ndarray(image, self._pixel_format)
        frame.pts, frame.time_base = self._count, _TICK
        self._count += 1
        self._graph.push(frame)
        reduced = self._graph.pull()
        assert isinstance(reduced, VideoFrame)
        return reduced
