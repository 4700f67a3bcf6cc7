"""Tests of the transparency that is read from video frames."""

import av
import numpy as np
import pytest

from silhouette_seg.video.pixels import to_yuv
from silhouette_seg.video.transparency import opacity

BT_709 = 1


def every_alpha() -> np.ndarray:
    image = np.full((4, 256, 4), (200, 60, 30, 0), np.uint8)
    image[..., 3] = np.arange(256)
    return image


@pytest.mark.parametrize("pixel_format", ["yuva420p", "yuva444p10le"])
def test_opacity_of_planes_is_exact(pixel_format):
    frame = to_yuv(every_alpha(), pixel_format, BT_709)
    np.testing.assert_array_equal(opacity(frame), every_alpha()[..., 3])


@pytest.mark.parametrize("pixel_format", ["rgba", "bgra", "argb", "abgr"])
def test_opacity_of_packed_pixels_is_exact(pixel_format):
    frame = av.VideoFrame.from_ndarray(every_alpha(), "rgba").reformat(format=pixel_format)
    np.testing.assert_array_equal(opacity(frame), every_alpha()[..., 3])


@pytest.mark.parametrize("pixel_format", ["rgba64le", "rgba64be"])
def test_opacity_of_deep_packed_pixels_is_exact(pixel_format):
    deep = every_alpha().astype(np.uint16) * 257
    frame = av.VideoFrame.from_ndarray(deep, "rgba64le").reformat(format=pixel_format)
    np.testing.assert_array_equal(opacity(frame), every_alpha()[..., 3])


@pytest.mark.parametrize("pixel_format", ["yuv420p", "rgb24", "gray", "yuva420p", "argb"])
def test_opaque_frame_has_no_opacity(pixel_format):
    opaque = every_alpha()
    opaque[..., 3] = 255
    frame = av.VideoFrame.from_ndarray(opaque, "rgba").reformat(format=pixel_format)
    assert opacity(frame) is None
