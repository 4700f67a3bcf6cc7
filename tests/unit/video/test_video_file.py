"""Tests of video files that are written: alpha, times and the limits of each format."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from silhouette_seg.video.containers import CONTAINERS, ContainerFormat
from silhouette_seg.video.errors import VideoError
from silhouette_seg.video.orientation import FrameShape
from silhouette_seg.video.reader import VideoInfo
from silhouette_seg.video.video_file import VideoWriter

TIMES_MS = [0, 40, 73, 110, 200, 300]


def video_info(hw, time_base) -> VideoInfo:
    return VideoInfo(
        time_base=time_base,
        frame_rate=Fraction(25),
        colour_space=1,
        hdr_name=None,
        shape=FrameShape(hw),
        duration_s=None,
        audio_tracks=(),
    )


def write(path, images, times=None, time_base=Fraction(1, 1000)) -> list[str]:
    """Writes a video file and returns the notices for the user."""
    writer = VideoWriter(path, CONTAINERS[path.suffix])
    writer.start(video_info(images[0].shape[:2], time_base), images[0])
    for image, pts in zip(images, times or TIMES_MS, strict=True):
        writer.write_image(image, pts)
    writer.finish()
    return writer.notices


def every_alpha(shift: int = 0) -> np.ndarray:
    """Returns an image, uint8 [16,256,4], with each alpha value in one column."""
    image = np.full((16, 256, 4), (200, 60, 30, 0), np.uint8)
    image[..., 3] = np.roll(np.arange(256), 16 * shift)
    return image


def read_animation(path) -> list[tuple[np.ndarray, int]]:
    """Returns the frames, uint8 RGBA [h,w,4], and the time of each in milliseconds."""
    with Image.open(path) as image:
        return [
            (np.asarray(frame.convert("RGBA")), round(frame.info["duration"]))
            for frame in ImageSequence.Iterator(image)
        ]


@pytest.mark.parametrize("suffix", [".mov", ".webm", ".webp"])
def test_alpha_of_frame_is_exact_before_the_codec(tmp_path, suffix):
    """libswscale's own conversion raises many values by one."""
    image = every_alpha()
    writer = VideoWriter(tmp_path / f"a{suffix}", CONTAINERS[suffix])
    writer.start(video_info(image.shape[:2], Fraction(1, 25)), image)
    frame = writer._frame(image)
    writer.discard()
    if frame.format.name == "bgra":
        np.testing.assert_array_equal(frame.to_ndarray()[..., 3], image[..., 3])
        return
    assert_alpha(frame, image[..., 3])


def assert_alpha(frame: av.VideoFrame, alpha: np.ndarray) -> None:
    """Checks the plane of alpha itself; the deeper value of 255 is the largest one."""
    bits = frame.format.components[3].bits
    plane = frame.planes[3]
    rows = np.frombuffer(memoryview(plane), np.uint8 if bits == 8 else np.uint16)
    values = rows.reshape(plane.height, -1)[:, : plane.width]
    np.testing.assert_array_equal(values >> (bits - 8), alpha)
    assert values.max() == 2**bits - 1


def test_prores_keeps_every_alpha_value_and_colour(tmp_path):
    images = [every_alpha(number) for number in range(6)]
    write(tmp_path / "a.mov", images)
    with av.open(str(tmp_path / "a.mov")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.codec_tag, stream.profile) == ("ap4h", "4444")
        frames = list(container.decode(stream))
    assert [round(frame.time * 1000) for frame in frames] == TIMES_MS
    for frame, image in zip(frames, images, strict=True):
        assert_alpha(frame, image[..., 3])
        difference = frame.to_ndarray(format="rgb24").astype(int) - image[..., :3]
        assert np.abs(difference).max() <= 2
        assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 1, 1)


def test_animated_webp_keeps_every_alpha_value_and_time(tmp_path):
    images = [every_alpha(number) for number in range(6)]
    write(tmp_path / "a.webp", images)
    frames = read_animation(tmp_path / "a.webp")
    assert [duration for _, duration in frames[:-1]] == np.diff(TIMES_MS).tolist()
    for (frame, _), image in zip(frames, images, strict=True):
        np.testing.assert_array_equal(frame[..., 3], image[..., 3])
        shown = image[..., 3] > 0
        assert np.abs(frame.astype(int) - image)[shown].max() < 12


def test_animated_webp_keeps_masks_exact(tmp_path):
    masks = [every_alpha(number)[..., 3] for number in range(6)]
    write(tmp_path / "a.webp", masks)
    for (frame, _), mask in zip(read_animation(tmp_path / "a.webp"), masks, strict=True):
        np.testing.assert_array_equal(frame[..., 0], mask)
        assert (frame[..., 3] == 255).all()


def test_gif_has_opaque_pixels_from_half_alpha_and_rounded_times(tmp_path):
    images = [every_alpha(number) for number in range(6)]
    notices = write(tmp_path / "a.gif", images)
    frames = read_animation(tmp_path / "a.gif")
    assert [duration for _, duration in frames[:-1]] == [40, 30, 40, 90, 100]
    for (frame, _), image in zip(frames, images, strict=True):
        is_opaque = image[..., 3] >= 128
        np.testing.assert_array_equal(frame[..., 3], np.where(is_opaque, 255, 0))
        assert np.abs(frame[..., :3].astype(int) - image[..., :3])[is_opaque].max() < 8
    assert notices == ["GIF has 256 colours a frame, and every pixel is either opaque or clear."]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animation_repeats_for_ever(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", [every_alpha(number) for number in range(6)])
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.info["loop"] == 0


@pytest.mark.parametrize(
    ("suffix", "rate", "least_ms", "left_out"), [(".gif", 60, 20, 20), (".webp", 120, 11, 30)]
)
def test_frames_that_browsers_would_slow_down_are_left_out(
    tmp_path, suffix, rate, least_ms, left_out
):
    images = [every_alpha(number % 16) for number in range(60)]
    path = tmp_path / f"a{suffix}"
    notices = write(path, images, list(range(60)), Fraction(1, rate))
    durations = [duration for _, duration in read_animation(path)]
    assert min(durations) >= least_ms
    assert sum(durations) == pytest.approx(60_000 / rate, abs=40)
    assert len(durations) == 60 - left_out
    assert f"{left_out} frames are left out" in notices[-1]
    assert f"at least {least_ms} ms" in notices[-1]


def test_side_that_webp_cannot_have_is_an_error_with_the_limit(tmp_path):
    with pytest.raises(VideoError, match="at most 16383 pixels, not 16384"):
        write(tmp_path / "a.webp", [np.zeros((16, 16_384, 3), np.uint8)], [0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_sound_of_container_is_copied_or_encoded_or_absent(container: ContainerFormat):
    assert (container.copied_codecs is None) == (container.audio_codec is None)
