"""The `silhouette` command on video files, with a model that returns red as alpha."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.integration.pictures import pixels
from tests.support.images import make_jpeg, make_png, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model
from tests.support.videos import (
    AUDIO_RATE_HZ,
    audio_packets,
    make_video,
    read_alpha_video,
    read_audio,
    read_video,
    uneven_times,
)


@pytest.fixture(scope="module")
def wide_repository(tmp_path_factory) -> Path:
    """Returns a repository with a model of the size of the videos."""
    folder = tmp_path_factory.mktemp("wide")
    write_tiny_model(folder, tiny_spec(size_hw=(48, 64)))
    return folder


@pytest.fixture
def silhouette(wide_repository, monkeypatch):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(wide_repository))
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()

    def run(*arguments):
        return runner.invoke(app, ["segment", *(str(argument) for argument in arguments)])

    return run


@pytest.fixture
def talk(tmp_path) -> Path:
    """Returns a video with uneven frame times and a sine tone."""
    make_video(tmp_path / "talk.mp4", uneven_times(20), sound=True)
    return tmp_path / "talk.mp4"


def widths(frames) -> list[int]:
    """Returns the width of the person in each frame, in the middle row of the first channel."""
    return [int((frame[frame.shape[0] // 2, :, 0] > 127).sum()) for frame in frames]


def grows(frames) -> bool:
    return widths(frames) == pytest.approx([8 + number for number in range(20)], abs=2)


def test_mask_video_keeps_times_order_and_sound(silhouette, talk, tmp_path):
    result = silhouette(talk, "-o", tmp_path / "out.mp4", "--smoothing", "0")
    assert result.exit_code == 0, result.output
    assert f"1 of 1 files done, in {tmp_path / 'out.mp4'}" in result.stdout
    seen = read_video(tmp_path / "out.mp4")
    assert seen.codec == "h264"
    assert seen.times == read_video(talk).times
    assert grows(seen.frames)
    assert audio_packets(tmp_path / "out.mp4") == audio_packets(talk)


def test_webm_keeps_times_and_converts_sound_to_opus(silhouette, talk, tmp_path):
    result = silhouette(talk, "-o", tmp_path / "out.webm", "--smoothing", "0")
    assert result.exit_code == 0, result.output
    seen, before = read_video(tmp_path / "out.webm"), read_video(talk)
    assert seen.codec.endswith("vp9")
    assert [float(at) for at in seen.times] == pytest.approx(
        [float(at) for at in before.times], abs=0.0006
    )
    assert grows(seen.frames)
    codec, samples = read_audio(tmp_path / "out.webm")
    assert codec.endswith("opus")
    assert len(samples) == pytest.approx(AUDIO_RATE_HZ / 2, abs=4096)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * AUDIO_RATE_HZ / len(samples) == pytest.approx(440, abs=5)


def test_opus_is_copied_from_webm_to_webm(silhouette, tmp_path):
    make_video(tmp_path / "a.webm", uneven_times(20), sound=True)
    result = silhouette(tmp_path / "a.webm", "-o", tmp_path / "out.webm")
    assert result.exit_code == 0, result.output
    assert audio_packets(tmp_path / "out.webm") == audio_packets(tmp_path / "a.webm")


def test_cutout_video_keeps_alpha_in_webm(silhouette, talk, tmp_path):
    result = silhouette(talk, "-o", tmp_path / "out.webm", "--output", "cutout", "--smoothing", "0")
    assert result.exit_code == 0, result.output
    frames = read_alpha_video(tmp_path / "out.webm")
    assert len(frames) == 20
    assert grows([frame[..., 3:] for frame in frames])
    last = frames[-1]
    assert last[24, 8].tolist() == pytest.approx([255, 0, 0, 255], abs=20)
    assert last[24, 60, 3] < 10


def test_composite_video_has_the_background_colour(silhouette, talk, tmp_path):
    options = ("--output", "composite", "--background", "#00ff00")
    result = silhouette(talk, "-o", tmp_path / "out.mp4", *options)
    assert result.exit_code == 0, result.output
    frame = read_video(tmp_path / "out.mp4").frames[0]
    assert frame[24, 2].tolist() == pytest.approx([255, 0, 0], abs=25)
    assert frame[24, 50].tolist() == pytest.approx([0, 255, 0], abs=25)


def test_background_option_accepts_a_file(silhouette, talk, tmp_path):
    (tmp_path / "wall.png").write_bytes(make_png(np.full((9, 9, 3), (0, 0, 255), np.uint8)))
    options = ("--output", "composite", "--background", tmp_path / "wall.png")
    result = silhouette(talk, "-o", tmp_path / "out.mp4", *options)
    assert result.exit_code == 0, result.output
    frame = read_video(tmp_path / "out.mp4").frames[0]
    assert frame[24, 50].tolist() == pytest.approx([0, 0, 255], abs=25)


@pytest.mark.parametrize(("options", "suffix"), [((), "png"), (("--format", "webp"), "webp")])
def test_frames_become_pictures_in_a_folder(silhouette, talk, tmp_path, options, suffix):
    command = (talk, "-o", tmp_path / "frames", "--output", "cutout", "--smoothing", "0", *options)
    result = silhouette(*command)
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"{number:06}.{suffix}" for number in range(1, 21)]
    images = [pixels((tmp_path / "frames" / name).read_bytes()) for name in names]
    assert grows([image[..., 3:] for image in images])

    again = silhouette(*command)
    assert again.exit_code == 1
    assert "is not empty" in again.stderr


def test_rotated_video_becomes_upright(silhouette, tmp_path):
    make_video(tmp_path / "a.mp4", [0, 3000], rotation=-90)
    result = silhouette(tmp_path / "a.mp4", "-o", tmp_path / "out.mp4", "--smoothing", "0")
    assert result.exit_code == 0, result.output
    frame = read_video(tmp_path / "out.mp4").frames[0]
    assert frame.shape == (64, 48, 3)
    assert (frame[:6] > 200).all()  # the left side is now at the top
    assert (frame[14:] < 60).all()


def test_odd_size_loses_a_pixel_in_mp4_only(silhouette, tmp_path):
    make_video(tmp_path / "a.webm", [0], hw=(47, 63))
    for name, shape in (("out.webm", (47, 63, 3)), ("out.mp4", (46, 62, 3))):
        result = silhouette(tmp_path / "a.webm", "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
        assert read_video(tmp_path / name).frames[0].shape == shape


def test_folder_may_hold_photos_and_videos(silhouette, tmp_path):
    album = tmp_path / "album"
    album.mkdir()
    (album / "a.jpg").write_bytes(make_jpeg(quadrants()))
    (album / "broken.mov").write_text("no video")
    make_video(album / "b.mp4", [0, 3000])
    result = silhouette(album, "-o", tmp_path / "out", "--output", "cutout")
    assert result.exit_code == 1
    assert f"{album / 'broken.mov'}: The file is not a readable video" in result.stderr
    assert "2 of 3 files done" in result.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.webm"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("-o", "out.mp4", "--output", "cutout"), "MP4 has no transparency"),
        (("-o", "out.mov"), "videos are written as .mp4 or .webm"),
        (("-o", "out.gif"), "videos are written as .mp4 or .webm, not .gif"),
        (("-o", "out.png"), "out.png is one picture: name a folder"),
        (("-o", "-"), "standard output takes the result of one photo"),
        (("-o", "out.mp4", "--crop"), "crop: the frames of a video"),
        (("-o", "out.mp4", "--domain", "half_body"), "domain: has no effect on a video"),
        (("-o", "out.mp4", "--smoothing", "2"), "smoothing: must be a number from 0 to 1"),
        (("-o", "out.mp4", "--model", "unknown"), "Unknown model"),
    ],
)
def test_bad_video_option_is_an_error_and_writes_nothing(
    silhouette, talk, monkeypatch, tmp_path, arguments, reason
):
    monkeypatch.chdir(tmp_path)
    result = silhouette("talk.mp4", *arguments)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["talk.mp4"]


def test_source_video_is_never_overwritten(silhouette, talk):
    before = talk.read_bytes()
    result = silhouette(talk, "-o", talk)
    assert result.exit_code == 1
    assert "would overwrite a video" in result.stderr
    assert talk.read_bytes() == before


def test_smoothing_option_is_rejected_for_photos(silhouette, tmp_path):
    (tmp_path / "a.jpg").write_bytes(make_jpeg(quadrants()))
    result = silhouette(tmp_path / "a.jpg", "-o", tmp_path / "out", "--smoothing", "0.5")
    assert result.exit_code == 1
    assert "no effect on photos" in result.stderr


def test_overwrite_replaces_frames_of_an_older_run(silhouette, talk, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(1, 30):
        (frames / f"{number:06}.png").write_text("older")
    result = silhouette(talk, "-o", frames, "--overwrite")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in frames.iterdir()) == [
        f"{number:06}.png" for number in range(1, 21)
    ]
    assert pixels((frames / "000001.png").read_bytes()).shape == (48, 64)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames", "talk.mp4"]


def test_link_to_a_folder_of_frames_stays_a_link(silhouette, talk, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "frames").symlink_to("far")
    for _ in range(2):
        result = silhouette(talk, "-o", tmp_path / "frames", "--overwrite")
        assert result.exit_code == 0, result.output
    assert (tmp_path / "frames").is_symlink()
    assert len(list((tmp_path / "far").iterdir())) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "frames", "talk.mp4"]


@pytest.mark.parametrize("name", ["letter.txt", "1.png", "photo 000001.png"])
def test_folder_with_other_files_is_never_overwritten(silhouette, talk, tmp_path, name):
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / name).write_text("precious")
    (frames / "000001.png").write_text("older")
    result = silhouette(talk, "-o", frames, "--overwrite")
    assert result.exit_code == 1
    assert "has other files than frames" in result.stderr
    assert sorted(path.name for path in frames.iterdir()) == sorted(["000001.png", name])


@pytest.mark.parametrize("name", ["out.mp4", "frames"])
def test_skip_existing_leaves_a_finished_video(silhouette, talk, tmp_path, name):
    command = (talk, "-o", tmp_path / name, "--skip-existing", "--smoothing", "0.5")
    assert silhouette(*command).exit_code == 0
    before = (tmp_path / name).stat().st_mtime_ns
    again = silhouette(*command)
    assert again.exit_code == 0, again.output
    assert "0 of 0 files done" in again.stdout
    assert "1 skipped: result exists (1)" in again.stdout
    assert (tmp_path / name).stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["clip", "clip.jpg", "clip.mts"])
def test_video_under_any_name_is_segmented(silhouette, talk, tmp_path, name):
    talk.rename(tmp_path / name)
    result = silhouette(tmp_path / name, "-o", tmp_path / "out.mp4")
    assert result.exit_code == 0, result.output
    assert len(read_video(tmp_path / "out.mp4").frames) == 20
