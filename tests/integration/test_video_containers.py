"""The `silhouette` command on containers of cameras, late times and pixels that are not square."""

from fractions import Fraction

import av
import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.integration.pictures import pixels
from tests.support.tiny_model import tiny_spec, write_tiny_model
from tests.support.videos import make_video, read_audio, read_video, uneven_times

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


@pytest.mark.parametrize("suffix", [".mts", ".3gp", ".m4v", ".mkv"])
@pytest.mark.parametrize("start_s", [0, 5])
def test_container_of_camera_keeps_times_and_sound(silhouette, tmp_path, suffix, start_s):
    times = [90_000 * start_s + 3600 * number for number in range(6)]
    make_video(tmp_path / f"a{suffix}", times, sound=start_s == 0)
    silhouette(tmp_path / f"a{suffix}", "-o", tmp_path / "out.mp4")
    before, after = read_video(tmp_path / f"a{suffix}"), read_video(tmp_path / "out.mp4")
    assert [float(at) for at in after.times] == pytest.approx(
        [float(at) for at in before.times], abs=0.001
    )
    assert len(after.frames) == 6
    if start_s == 0:
        assert len(read_audio(tmp_path / "out.mp4")[1]) > 0


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
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
