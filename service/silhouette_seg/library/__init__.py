"""Segmentation in this process: functions and sessions that need no server.

    from silhouette_seg import cut_out

    cutout = cut_out("photo.jpg")

The import loads no model and no image library; both are loaded at the first photo.
"""

from silhouette_seg.library.many import map_photos
from silhouette_seg.library.session import Session, SharedSession

__all__ = ["Session", "composite", "cut_out", "map_photos", "segment"]

_shared = SharedSession()
segment = _shared.segment
cut_out = _shared.cut_out
composite = _shared.composite
