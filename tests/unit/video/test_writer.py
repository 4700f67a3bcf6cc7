"""Tests of the frames that a video file is encoded from."""

from fractions import Fraction

import numpy as np

from silhouette_seg.video.orientation import FrameShape
from silhouette_seg.video.reader import VideoInfo
from silhouette_seg.video.writer import WEBM, VideoWriter


def test_alpha_of_frame_is_exact(tmp_path):
    """libswscale's own conversion raises the values from 128 to 254 by one."""
    image = np.zeros((2, 256, 4), np.uint8)
    image[..., 3] = np.arange(256)
    info = VideoInfo(
        time_base=Fraction(1, 25),
        frame_rate=Fraction(25),
        colour_space=1,
        hdr_name=None,
        shape=FrameShape((2, 256)),
        duration_s=None,
        audio_tracks=(),
    )
    writer = VideoWriter(tmp_path / "a.webm", WEBM)
    writer.start(info, image)
    plane = writer._frame(image).planes[3]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
    np.testing.assert_array_equal(rows[:, :256], image[..., 3])
    writer.discard()
