"""Converts between video frames of PyAV and their I420 planes as arrays."""

from fractions import Fraction

import numpy as np
from aiortc.mediastreams import VIDEO_CLOCK_RATE
from av import VideoFrame
from numpy.typing import NDArray

from silhouette_seg.vision.compose.yuv import Planes

I420 = "yuv420p"
HALF_TICK = Fraction(1, 2 * VIDEO_CLOCK_RATE)
"""Half a tick of the clock of RTP video, in seconds."""


def to_planes(frame: VideoFrame) -> Planes:
    """Returns the Y, U and V planes of a video frame, uint8 arrays, converted to I420.

    If the frame is I420 already, they share its memory.
    """
    if frame.format.name != I420:
        frame = frame.reformat(format=I420)
    return Planes(*_plane_arrays(frame))


def from_planes(planes: Planes, like: VideoFrame) -> VideoFrame:
    """Copies I420 planes into a new video frame, half a tick later than the camera frame `like`.

    For VP8 aiortc converts the time to microseconds and back, and rounds down. Without the half
    tick, the RTP timestamp of a result would often be one less than that of its frame.
    """
    height, width = planes.size_hw
    frame = VideoFrame(width, height, I420)
    for rows, plane in zip(_plane_arrays(frame), planes, strict=True):
        rows[:] = plane
    assert like.pts is not None, "every frame of a camera has a time"
    frame.pts, frame.time_base = 2 * like.pts + 1, HALF_TICK
    return frame


def _plane_arrays(frame: VideoFrame) -> list[NDArray[np.uint8]]:
    """Returns views of the planes of a video frame, uint8 [h,w], without FFmpeg's row padding."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[
            :, : plane.width
        ]
        for plane in frame.planes
    ]
