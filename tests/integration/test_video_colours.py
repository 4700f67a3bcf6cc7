"""The `silhouette` command on videos in HDR: colours, tags and the report."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.integration.pictures import pixels
from tests.support.tiny_model import tiny_spec, write_tiny_model
from tests.support.video_colours import Tags, declared, make_colour_video
from tests.support.videos import read_video

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
HLG = Tags(9, 9, 18)
DARK_RED = (0.42, 0.3, 0.22)
"""Values of HLG; in SDR they are near (123, 57, 32)."""


@pytest.fixture
def silhouette(tmp_path, monkeypatch):
    write_tiny_model(tmp_path / "models", tiny_spec(size_hw=(48, 64)))
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        result = CliRunner().invoke(app, ["segment", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_hdr_video_becomes_tagged_sdr_and_is_reported(silhouette, tmp_path, suffix):
    make_colour_video(tmp_path / "a.mov", DARK_RED, 9, HLG, (96, 128), codec="libx265")
    out = tmp_path / f"out{suffix}"
    result = silhouette(tmp_path / "a.mov", "-o", out, "--output", "composite", "--invert")
    assert declared(out) == (Tags(1, 1, 1), 1)
    assert (
        f"{tmp_path / 'a.mov'}: The video is in HDR (HLG); the result is in SDR." in result.stderr
    )


def test_video_in_sdr_is_not_reported(silhouette, tmp_path):
    make_colour_video(tmp_path / "a.mp4", DARK_RED, 1, Tags(1, 1, 1), (96, 128))
    result = silhouette(tmp_path / "a.mp4", "-o", tmp_path / "out.mp4")
    assert "SDR" not in result.stderr


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not on this machine")
@pytest.mark.parametrize("result", ["out.mp4", "frames"])
def test_hdr_phone_video_matches_its_twin_in_sdr(silhouette, tmp_path, result):
    """The model keeps the red suit of the person. The rest becomes green."""
    frames = []
    for name in ("iphone_hlg.mov", "sdr.mp4"):
        out = tmp_path / name[:3] / result
        options = ("--output", "composite", "--background", "#00b140", "--smoothing", "0")
        silhouette(CASES / name, "-o", out, *options)
        if result == "frames":
            frames.append(pixels((out / "000006.png").read_bytes()))
        else:
            frames.append(read_video(out).frames[5])
    hdr, sdr = (frame.astype(int) for frame in frames)
    suit = sdr[230:260, 60:85]
    assert suit[..., 0].mean() > 150
    assert np.abs(hdr[230:260, 60:85] - suit).mean() < 6
    assert np.abs(hdr - sdr).mean() < 6
