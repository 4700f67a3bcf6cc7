"""Tests of the video reader: orientation, timestamps, audio and invalid files."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from silhouette_seg.errors import TooManyPixels
from silhouette_seg.video.errors import VideoError
from silhouette_seg.video.reader import (
    AudioChunk,
    AudioTrack,
    DecodedFrame,
    VideoInfo,
    VideoReader,
    _origin_s,
)
from silhouette_seg.vision.codec.header import ImageLimits
from tests.support.images import TEXT, make_jpeg, quadrants
from tests.support.videos import SIZE_HW, TICK, bar_frame, make_video, sine_audio, uneven_times

LIMITS = ImageLimits()


def items(path, limits=LIMITS, copied_codecs=frozenset({"aac"})):
    reader = VideoReader(path, limits, copied_codecs)
    try:
        return list(reader)
    finally:
        reader.close()


def stream(start_s, rate_hz):
    """Returns the start of a stream, as the streams of PyAV have it."""
    return SimpleNamespace(start_time=int(start_s * rate_hz), time_base=Fraction(1, rate_hz))


def decoded_frames(path, **more):
    return [item for item in items(path, **more) if isinstance(item, DecodedFrame)]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, -1])
def test_display_matrix_of_file_turns_and_mirrors_frames(tmp_path, turns, mirrored):
    make_video(tmp_path / "a.mp4", [0], rotation=90 * turns, mirrored=mirrored)
    (frame,) = decoded_frames(tmp_path / "a.mp4")
    expected = np.rot90(bar_frame(0), turns)
    difference = frame.rgb().astype(int) - (expected[:, ::-1] if mirrored else expected)
    assert np.abs(difference).mean() < 12


def test_reader_yields_info_frames_with_times_and_audio_packets(tmp_path):
    make_video(tmp_path / "a.mp4", sound=True)
    read = items(tmp_path / "a.mp4")
    (info,) = (item for item in read if isinstance(item, VideoInfo))
    assert info.time_base == TICK
    assert info.duration_s == pytest.approx(0.46, abs=0.05)
    assert [track.is_copied for track in info.audio_tracks] == [True]
    assert [item.pts for item in read if isinstance(item, DecodedFrame)] == uneven_times(12)
    chunks = [item.data for item in read if isinstance(item, AudioChunk)]
    assert chunks
    assert all(isinstance(data, av.Packet) for data in chunks)


def test_audio_is_decoded_unless_copied_or_skipped(tmp_path):
    make_video(tmp_path / "a.mp4", sound=True)
    read = items(tmp_path / "a.mp4", copied_codecs=frozenset())
    chunks = [item.data for item in read if isinstance(item, AudioChunk)]
    assert all(isinstance(data, av.AudioFrame) for data in chunks)
    assert sum(data.samples for data in chunks) >= sine_audio().samples
    assert not any(
        isinstance(item, AudioChunk) for item in items(tmp_path / "a.mp4", copied_codecs=None)
    )


def test_frames_of_avi_have_times(tmp_path):
    make_video(tmp_path / "a.avi", [0, 1, 2, 3])
    times = [frame.pts for frame in decoded_frames(tmp_path / "a.avi")]
    assert times == [0, 1, 2, 3]


def test_times_that_do_not_increase_are_corrected(tmp_path):
    make_video(tmp_path / "a.mp4", [0])
    reader = VideoReader(tmp_path / "a.mp4", LIMITS, None)
    times = []
    for pts in (0, 3000, 3000, None, 9000):
        frame = av.VideoFrame(16, 16, "rgb24")
        frame.pts, frame.time_base = pts, Fraction(1, 90_000)
        times.append(reader._increasing_pts(frame))
    reader.close()
    assert times == [0, 3000, 3001, 3002, 9000]


@pytest.mark.parametrize(
    ("frames_s", "sound_s", "origin_s"),
    [(5, None, 5), (5, 6, 5), (6, 5, 5), (0, None, 0), (0, -0.5, 0), (-0.5, 0, -0.5)],
)
def test_times_begin_with_the_first_frame_or_sound(frames_s, sound_s, origin_s):
    """Sound before 0 is no beginning: it only prepares the decoder."""
    tracks = () if sound_s is None else (AudioTrack(stream(sound_s, 48_000), is_copied=True),)
    assert _origin_s(stream(frames_s, 90_000), tracks) == Fraction(origin_s)


@pytest.mark.parametrize("name", ["a:b.mp4", "50%d.mp4"])
def test_name_of_video_is_no_protocol_and_no_pattern(tmp_path, monkeypatch, name):
    make_video(tmp_path / "a.mp4", [0])
    (tmp_path / "a.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(decoded_frames(Path(name))) == 1


@pytest.mark.parametrize("body", [TEXT, b""])
def test_file_that_is_not_a_video_raises(tmp_path, body):
    (tmp_path / "a.mp4").write_bytes(body)
    with pytest.raises(VideoError, match="not a readable video"):
        items(tmp_path / "a.mp4")


def test_file_with_audio_only_raises(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=48_000, layout="mono")
        out.mux(stream.encode(sine_audio()))
        out.mux(stream.encode(None))
    with pytest.raises(VideoError, match="contains no video"):
        items(tmp_path / "a.mp4")


def test_truncated_file_raises(tmp_path):
    make_video(tmp_path / "a.mp4", uneven_times(40), options={"movflags": "faststart"})
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(VideoError):
        items(tmp_path / "half.mp4")


def test_frame_over_image_limits_raises(tmp_path):
    make_video(tmp_path / "a.mp4", [0])
    with pytest.raises(TooManyPixels):
        VideoReader(tmp_path / "a.mp4", ImageLimits(pixels=SIZE_HW[0] * SIZE_HW[1] - 1), None)


def test_photo_named_as_video_has_one_frame(tmp_path):
    (tmp_path / "a.mp4").write_bytes(make_jpeg(quadrants()))
    (frame,) = decoded_frames(tmp_path / "a.mp4")
    assert frame.rgb().shape == (64, 96, 3)
