"""Video files: every frame through the models in order, into another file with the same times.

PyAV is imported here and nowhere else on the way of a photo: import this package late.
"""

from service.video.errors import VideoError
from service.video.run import segment_video
from service.video.write import Writer, writer_for

__all__ = ["VideoError", "Writer", "segment_video", "writer_for"]
