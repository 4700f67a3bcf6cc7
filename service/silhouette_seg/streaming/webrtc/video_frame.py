"""Converts between video frames of PyAV and their I420 planes as arrays."""

import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

from silhouette_seg.vision.compose.yuv import Planes

I420 = "yuv420p"


def to_planes(frame: VideoFrame) -> Planes:
    """Returns the Y, U and V planes of a video frame, uint8 arrays, converted to I420.

    If the frame is I420 already, they share its memory.
    """
    if frame.format.name != I420:
        frame = frame.reformat(format=I420)
    return Planes(*_plane_arrays(frame))


def from_planes(planes: Planes, like: VideoFrame) -> VideoFrame:
    """Copies I420 planes into a new video frame with the presentation time of the frame `like`."""
    height, width = planes.size_hw
    frame = VideoFrame(width, height, I420)
    for rows, plane in zip(_plane_arrays(frame), planes, strict=True):
        rows[:] = plane
    frame.pts, frame.time_base = like.pts, like.time_base
    return frame


def _plane_arrays(frame: VideoFrame) -> list[NDArray[np.uint8]]:
    """Returns views of the planes of a video frame, uint8 [h,w], without FFmpeg's row padding."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[
            :, : plane.width
        ]
        for plane in frame.planes
    ]
