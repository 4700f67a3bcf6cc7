"""Segments video files: every frame in order, into another file with the same timestamps.

Import this package late. PyAV is imported here, and processing a photo must not load it.
"""

from silhouette_seg.video.errors import VideoError
from silhouette_seg.video.run import segment_video
from silhouette_seg.video.writer import FrameWriter, make_writer

__all__ = ["FrameWriter", "VideoError", "make_writer", "segment_video"]
