"""The `silhouette` command on containers of cameras, late times and pixels that are not square."""

from fractions import Fraction

import av
import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.integration.pictures import pixels
from tests.support.tiny_model import tiny_spec, write_tiny_model
from tests.support.videos import make_video, read_video, sound_start_s, uneven_times

WIDE = Fraction(16, 11)
"""Pixel aspect of PAL in 16:9: the 64 columns of the videos are shown on 93."""


@pytest.fixture
def silhouette(tmp_path, monkeypatch):
    write_tiny_model(tmp_path / "models", tiny_spec(size_hw=(48, 64)))
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        result = CliRunner().invoke(app, ["segment", *map(str, arguments), "--smoothing", "0"])
        assert result.exit_code == 0, result.output

    return run


def shown_aspect(path) -> float:
    """Returns the displayed width of a video divided by its height."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pixel_aspect = stream.sample_aspect_ratio or 1
        return float(stream.width * pixel_aspect / stream.height)


@pytest.mark.parametrize("result", ["out.mp4", "out.webm"])
@pytest.mark.parametrize(
    ("suffix", "start_s"), [(".mts", 0), (".mts", 5), (".3gp", 5), (".m4v", 5), (".mkv", 5)]
)
def test_result_begins_at_zero_with_sound_in_step(silhouette, tmp_path, suffix, start_s, result):
    source, times = tmp_path / f"a{suffix}", [tick + 90_000 * start_s for tick in uneven_times(12)]
    make_video(source, times, sound=True, sound_start_s=Fraction(start_s) + Fraction(1, 5))
    silhouette(source, "-o", tmp_path / result)
    before, after = read_video(source), read_video(tmp_path / result)
    assert len(after.frames) == 12
    gaps = [float(at - before.times[0]) for at in before.times]
    assert [float(at) for at in after.times] == pytest.approx(gaps, abs=0.001)
    delay = sound_start_s(source) - float(before.times[0])
    assert delay == pytest.approx(0.2, abs=0.005)
    assert sound_start_s(tmp_path / result) == pytest.approx(delay, abs=0.002)
    with av.open(str(tmp_path / result)) as container:
        assert container.duration / 1e6 == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize("result", ["out.mp4", "out.webm"])
def test_sound_before_the_first_frame_begins_at_zero(silhouette, tmp_path, result):
    times = [450_000 + tick for tick in uneven_times(12)]
    make_video(tmp_path / "a.mkv", times, sound=True, sound_start_s=Fraction(24, 5))
    silhouette(tmp_path / "a.mkv", "-o", tmp_path / result)
    delay = float(read_video(tmp_path / result).times[0]) - sound_start_s(tmp_path / result)
    assert delay == pytest.approx(0.2, abs=0.003)
    with av.open(str(tmp_path / result)) as container:
        assert container.start_time == 0


def test_edit_list_that_cuts_the_beginning_is_applied(silhouette, tmp_path):
    """The muxer cuts times below 0 by an edit list."""
    cut = uneven_times(20)[8]
    times = [tick - cut for tick in uneven_times(20)]
    make_video(tmp_path / "a.mp4", times, sound=True, sound_start_s=Fraction(-cut, 90_000))
    silhouette(tmp_path / "a.mp4", "-o", tmp_path / "out.mp4")
    before, after = read_video(tmp_path / "a.mp4"), read_video(tmp_path / "out.mp4")
    assert after.times == before.times == [Fraction(tick, 90_000) for tick in times[8:]]
    assert sound_start_s(tmp_path / "out.mp4") == sound_start_s(tmp_path / "a.mp4")


def test_edit_list_that_delays_the_frames_keeps_the_delay(silhouette, tmp_path):
    make_video(tmp_path / "a.mp4", [45_000 + tick for tick in uneven_times(6)], sound=True)
    silhouette(tmp_path / "a.mp4", "-o", tmp_path / "out.mp4")
    assert read_video(tmp_path / "out.mp4").times == read_video(tmp_path / "a.mp4").times
    assert float(read_video(tmp_path / "out.mp4").times[0]) == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".gif"])
@pytest.mark.parametrize("pixel_aspect", [WIDE, Fraction(10, 11)])
@pytest.mark.parametrize("rotation", [None, -90], ids=["upright", "turned"])
def test_pixel_aspect_of_video_is_shown(silhouette, tmp_path, suffix, pixel_aspect, rotation):
    make_video(tmp_path / "a.mp4", uneven_times(2), pixel_aspect=pixel_aspect, rotation=rotation)
    silhouette(tmp_path / "a.mp4", "-o", tmp_path / f"out{suffix}")
    expected = 64 / 48 * pixel_aspect if rotation is None else 48 / 64 / pixel_aspect
    assert shown_aspect(tmp_path / f"out{suffix}") == pytest.approx(float(expected), rel=0.02)


def test_pictures_of_video_have_square_pixels(silhouette, tmp_path):
    make_video(tmp_path / "a.mp4", uneven_times(2), pixel_aspect=WIDE)
    silhouette(tmp_path / "a.mp4", "-o", tmp_path / "frames", "--output", "cutout")
    assert pixels((tmp_path / "frames" / "000001.png").read_bytes()).shape == (48, 93, 4)
