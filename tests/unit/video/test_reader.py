"""Reading video files: which way is up, what comes when, and what is no video."""

from fractions import Fraction

import av
import numpy as np
import pytest

from silhouette_seg.errors import TooManyPixels
from silhouette_seg.video.errors import VideoError
from silhouette_seg.video.reader import Facts, Heard, Still, VideoReader, upright
from silhouette_seg.vision.codec.header import ImageLimits
from tests.support.images import TEXT, make_jpeg, quadrants
from tests.support.videos import SIZE_HW, TICK, bar_frame, make_video, sine_audio, uneven_times

LIMITS = ImageLimits()
ONE = 65536
STORED = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def items(path, limits=LIMITS, copies=frozenset({"aac"})):
    reader = VideoReader(path, limits, copies)
    try:
        return list(reader)
    finally:
        reader.close()


def stills(path, **more):
    return [item for item in items(path, **more) if isinstance(item, Still)]


@pytest.mark.parametrize(
    ("abcd", "wanted"),
    [
        ((1, 0, 0, 1), STORED),
        ((-1, 0, 0, 1), STORED[:, ::-1]),
        ((1, 0, 0, -1), STORED[::-1]),
        ((-1, 0, 0, -1), STORED[::-1, ::-1]),
        ((0, -1, 1, 0), np.rot90(STORED)),
        ((0, 1, -1, 0), np.rot90(STORED, -1)),
        ((0, 1, 1, 0), STORED.transpose(1, 0, 2)),
        ((0, -1, -1, 0), np.rot90(STORED, 2).transpose(1, 0, 2)),
    ],
)
def test_upright(abcd, wanted):
    a, b, c, d = (ONE * share for share in abcd)
    assert np.array_equal(upright(STORED, (a, b, 0, c, d, 0, 0, 0, 1 << 30)), wanted)


def test_what_says_nothing_is_upright():
    assert upright(STORED, None) is STORED


@pytest.mark.parametrize("turns", [0, 1, 2, -1])
def test_rotation_of_the_file_is_honoured(tmp_path, turns):
    make_video(tmp_path / "a.mp4", [0], rotation=90 * turns)
    (still,) = stills(tmp_path / "a.mp4")
    difference = np.abs(still.rgb().astype(int) - np.rot90(bar_frame(0), turns))
    assert difference.mean() < 12


def test_frames_come_with_their_times_and_sound_beside_them(tmp_path):
    make_video(tmp_path / "a.mp4", sound=True)
    read = items(tmp_path / "a.mp4")
    (facts,) = (item for item in read if isinstance(item, Facts))
    assert facts.time_base == TICK
    assert facts.duration_s == pytest.approx(0.46, abs=0.05)
    assert [track.copied for track in facts.tracks] == [True]
    assert [item.pts for item in read if isinstance(item, Still)] == uneven_times(12)
    sounds = [item.sound for item in read if isinstance(item, Heard)]
    assert sounds
    assert all(isinstance(sound, av.Packet) for sound in sounds)


def test_sound_that_is_not_copied_is_decoded_and_may_be_left_out(tmp_path):
    make_video(tmp_path / "a.mp4", sound=True)
    read = items(tmp_path / "a.mp4", copies=frozenset())
    sounds = [item.sound for item in read if isinstance(item, Heard)]
    assert all(isinstance(sound, av.AudioFrame) for sound in sounds)
    assert sum(sound.samples for sound in sounds) >= sine_audio().samples
    assert not any(isinstance(item, Heard) for item in items(tmp_path / "a.mp4", copies=None))


def test_avi_has_times_too(tmp_path):
    make_video(tmp_path / "a.avi", [0, 1, 2, 3])
    times = [still.pts for still in stills(tmp_path / "a.avi")]
    assert times == [0, 1, 2, 3]


def test_times_that_do_not_grow_are_made_to(tmp_path):
    make_video(tmp_path / "a.mp4", [0])
    reader = VideoReader(tmp_path / "a.mp4", LIMITS, None)
    given = (0, 3000, 3000, None, 9000)
    times = []
    for pts in given:
        frame = av.VideoFrame(16, 16, "rgb24")
        frame.pts, frame.time_base = pts, Fraction(1, 90_000)
        times.append(reader._time(frame))
    reader.close()
    assert times == [0, 3000, 3001, 3002, 9000]


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("a.mp4", TEXT, "not a video that can be read"),
        ("a.mp4", b"", "not a video that can be read"),
    ],
)
def test_what_is_no_video_is_told(tmp_path, name, body, reason):
    (tmp_path / name).write_bytes(body)
    with pytest.raises(VideoError, match=reason):
        items(tmp_path / name)


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=48_000, layout="mono")
        out.mux(stream.encode(sine_audio()))
        out.mux(stream.encode(None))
    with pytest.raises(VideoError, match="no video in the file"):
        items(tmp_path / "a.mp4")


def test_file_that_is_cut_short_is_told(tmp_path):
    make_video(tmp_path / "a.mp4", uneven_times(40), options={"movflags": "faststart"})
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(VideoError):
        items(tmp_path / "half.mp4")


def test_limits_are_those_of_photos(tmp_path):
    make_video(tmp_path / "a.mp4", [0])
    with pytest.raises(TooManyPixels):
        VideoReader(tmp_path / "a.mp4", ImageLimits(pixels=SIZE_HW[0] * SIZE_HW[1] - 1), None)


def test_a_photo_by_another_name_has_one_frame(tmp_path):
    (tmp_path / "a.mp4").write_bytes(make_jpeg(quadrants()))
    (still,) = stills(tmp_path / "a.mp4")
    assert still.rgb().shape == (64, 96, 3)
