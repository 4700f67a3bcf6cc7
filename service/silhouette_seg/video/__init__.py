"""Video files: every frame through the models in order, into another file with the same times.

PyAV is imported here and nowhere else on the way of a photo: import this package late.
"""

from silhouette_seg.video.errors import VideoError
from silhouette_seg.video.run import segment_video
from silhouette_seg.video.writer import Writer, writer_for

__all__ = ["VideoError", "Writer", "segment_video", "writer_for"]
