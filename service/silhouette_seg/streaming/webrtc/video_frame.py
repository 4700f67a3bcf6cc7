"""Converts between video frames of PyAV and planes."""

import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

from silhouette_seg.vision.compose.yuv import Planes

I420 = "yuv420p"


def to_planes(frame: VideoFrame) -> Planes:
    """Returns the planes of a frame. They share its memory if its format is I420."""
    if frame.format.name != I420:
        frame = frame.reformat(format=I420)
    return Planes(*_plane_arrays(frame))


def from_planes(planes: Planes, like: VideoFrame) -> VideoFrame:
    """Copies planes into a new frame with the presentation time of `like`."""
    height, width = planes.size_hw
    frame = VideoFrame(width, height, I420)
    for rows, plane in zip(_plane_arrays(frame), planes, strict=True):
        rows[:] = plane
    frame.pts, frame.time_base = like.pts, like.time_base
    return frame


def _plane_arrays(frame: VideoFrame) -> list[NDArray[np.uint8]]:
    """Returns views of the planes, uint8 [h,w], without the row padding of FFmpeg."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[
            :, : plane.width
        ]
        for plane in frame.planes
    ]
