"""Composition of results in the planes of video frames."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest
from av import VideoFrame

from silhouette_seg.pipeline.options import BackgroundImage, Blur, Colour, Output, RenderOptions
from silhouette_seg.pipeline.segmenter import Matte
from silhouette_seg.streaming.session import StreamOptions
from silhouette_seg.streaming.webrtc import video_frame
from silhouette_seg.streaming.webrtc.compositor import Compositor
from silhouette_seg.vision.codec.decode import Frame
from silhouette_seg.vision.compose import yuv
from silhouette_seg.vision.compose.blend import blurred, composite
from silhouette_seg.vision.mask.quality import measure_quality
from tests.support.images import person, quadrants

GREEN = (20, 200, 60)
PLAIN = Colour(GREEN)


def options(background=PLAIN, *, image=None, **fields) -> StreamOptions:
    render = RenderOptions(**{"output": Output.COMPOSITE, "background": background, **fields})
    return StreamOptions(cast(Any, None), render, background=image)


def matte(alpha: np.ndarray) -> Matte:
    return Matte(alpha, measure_quality(alpha), None, cast(Any, SimpleNamespace()))


def left_half(size_hw: tuple[int, int]) -> np.ndarray:
    alpha = np.zeros(size_hw, np.uint8)
    alpha[:, : size_hw[1] // 4 * 2] = 255
    return alpha


def composed(compositor: Compositor, options: StreamOptions, rgb: np.ndarray) -> np.ndarray:
    alpha = left_half(rgb.shape[:2])
    return yuv.to_rgb(compositor.compose(options, yuv.from_rgb(rgb), matte(alpha))).astype(int)


@pytest.mark.parametrize("size_hw", [(96, 128), (95, 129)])
def test_composite_matches_that_of_photos(size_hw):
    rgb = person(*size_hw)
    for background, expected_background in (
        (Colour(GREEN), np.full_like(rgb, GREEN)),
        (Blur(5), blurred(rgb, 5, left_half(size_hw))),
    ):
        result = composed(Compositor(), options(background), rgb)
        expected = composite(rgb, left_half(size_hw), expected_background)
        assert np.abs(result - expected).mean() < 3


@pytest.mark.parametrize("edits", [{"grow": -20}, {"threshold": 0.95}])
def test_blurred_background_does_not_glow_around_edited_mask(edits):
    """The photo is a white person with a soft outline in front of black."""
    alpha = np.zeros((240, 320), np.uint8)
    alpha[60:180, 100:220] = 255
    alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 4), np.uint8)
    rgb = np.repeat(alpha[..., None], 3, axis=2)
    result = Compositor().compose(options(Blur(4), **edits), yuv.from_rgb(rgb), matte(alpha))
    assert result.y[alpha == 0].max() < 60


def test_mask_output_is_grey():
    result = composed(Compositor(), options(output=Output.MASK), person(48, 64))
    assert result[24, 10].tolist() == [255] * 3
    assert result[24, 50].tolist() == [0] * 3


def test_edits_apply_to_mask_output():
    result = composed(
        Compositor(), options(output=Output.MASK, invert=True, grow=4), person(48, 64)
    )
    assert result[24, [10, 34, 50], 0].tolist() == [0, 0, 255]


def test_empty_mask_shows_background_only():
    rgb = person(48, 64)
    empty = matte(np.zeros((48, 64), np.uint8))
    result = yuv.to_rgb(Compositor().compose(options(), yuv.from_rgb(rgb), empty))
    assert np.abs(result.astype(int) - GREEN).max() <= 3


def test_background_follows_size_options_and_image():
    compositor = Compositor()
    images = [Frame(quadrants(64, 64), (64, 64)), Frame(person(64, 64), (64, 64))]
    kinds = [options(), options(Colour((0, 0, 0)))]
    kinds += [options(BackgroundImage(), image=image) for image in images]
    for option in (*kinds, *reversed(kinds)):
        for size_hw in ((48, 64), (32, 48), (33, 47)):
            rgb = person(*size_hw)
            result = composed(compositor, option, rgb)
            np.testing.assert_array_equal(result, composed(Compositor(), option, rgb))
    last = composed(compositor, kinds[2], person(64, 64))
    assert np.abs(last[10, 60] - (0, 255, 0)).max() <= 3


def test_static_background_is_cached():
    compositor, option = Compositor(), options()
    composed(compositor, option, person(48, 64))
    cached = compositor._background
    composed(compositor, replace(option, smoothing=0.1), person(48, 64)[:, ::-1].copy())
    assert compositor._background is cached


def test_cutout_raises_for_video():
    with pytest.raises(ValueError, match="transparency"):
        composed(Compositor(), options(output=Output.CUTOUT), person(8, 8))


@pytest.mark.parametrize("size_hw", [(48, 64), (47, 65), (1, 1), (16, 18)])
def test_video_frame_survives_round_trip(size_hw):
    like = VideoFrame(8, 8, "yuv420p")
    like.pts, like.time_base = 4711, Fraction(1, 90_000)
    planes = yuv.from_rgb(person(*size_hw))
    frame = video_frame.from_planes(planes, like)
    assert (frame.height, frame.width) == size_hw
    assert frame.pts * frame.time_base == (4711 + Fraction(1, 2)) * like.time_base
    for plane, expected in zip(video_frame.to_planes(frame), planes, strict=True):
        np.testing.assert_array_equal(plane, expected)


def test_video_frame_of_another_format_is_converted():
    rgb = np.full((48, 64, 3), GREEN, np.uint8)
    planes = video_frame.to_planes(VideoFrame.from_ndarray(rgb, format="rgb24"))
    assert np.abs(yuv.to_rgb(planes).astype(int) - rgb).max() <= 4
