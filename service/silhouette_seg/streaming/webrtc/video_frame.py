"""Frames of PyAV as planes, and back."""

import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

from silhouette_seg.vision.compose.yuv import Planes

I420 = "yuv420p"


def read(frame: VideoFrame) -> Planes:
    """The frame's own pixels, which live as long as the planes do."""
    if frame.format.name != I420:
        frame = frame.reformat(format=I420)
    return Planes(*_rows(frame))


def write(planes: Planes, like: VideoFrame) -> VideoFrame:
    """A new frame, shown when `like` was."""
    height, width = planes.size_hw
    frame = VideoFrame(width, height, I420)
    for rows, plane in zip(_rows(frame), planes, strict=True):
        rows[:] = plane
    frame.pts, frame.time_base = like.pts, like.time_base
    return frame


def _rows(frame: VideoFrame) -> list[NDArray[np.uint8]]:
    """Each plane uint8 [h,w]: FFmpeg pads the rows."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[
            :, : plane.width
        ]
        for plane in frame.planes
    ]
