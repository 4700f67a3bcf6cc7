"""The `silhouette` command on video files, with a model that returns red as alpha."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence
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


@pytest.mark.parametrize("suffix", [".mov", ".webp", ".gif"])
def test_cutout_video_has_transparency_in_format_of_suffix(silhouette, talk, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    result = silhouette(talk, "-o", path, "--output", "cutout", "--smoothing", "0")
    assert result.exit_code == 0, result.output
    if suffix == ".mov":
        frames = read_video(path, "rgba").frames
    else:
        with Image.open(path) as image:
            frames = [np.asarray(one.convert("RGBA")) for one in ImageSequence.Iterator(image)]
    assert len(frames) == 20
    assert grows([frame[..., 3:] for frame in frames])
    assert frames[-1][24, 8].tolist() == pytest.approx([255, 0, 0, 255], abs=12)
    assert frames[-1][24, 60, 3] < 10
    assert ("GIF has 256 colours" in result.stderr) == (suffix == ".gif")


def test_mov_copies_sound_of_phones_and_keeps_times(silhouette, talk, tmp_path):
    result = silhouette(talk, "-o", tmp_path / "out.mov", "--output", "cutout")
    assert result.exit_code == 0, result.output
    assert read_video(tmp_path / "out.mov").times == read_video(talk).times
    assert audio_packets(tmp_path / "out.mov") == audio_packets(talk)


def test_mov_decodes_other_sound_without_loss(silhouette, tmp_path):
    make_video(tmp_path / "a.webm", uneven_times(20), sound=True)
    result = silhouette(tmp_path / "a.webm", "-o", tmp_path / "out.mov")
    assert result.exit_code == 0, result.output
    codec, samples = read_audio(tmp_path / "out.mov")
    assert codec == "pcm_s16le"
    assert np.array_equal(samples, np.rint(read_audio(tmp_path / "a.webm")[1] * 32768))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["a.mp4", "b.mp4"]),
        (("--video-format", "mov"), ["a.mov", "b.mov"]),
        (("--video-format", "gif", "--output", "cutout"), ["a.gif", "b.gif"]),
    ],
)
def test_videos_of_folder_have_the_chosen_format(silhouette, tmp_path, options, names):
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.webm"):
        make_video(tmp_path / "in" / name, [0, 3000])
    result = silhouette(tmp_path / "in", "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_single_video_with_a_chosen_format_is_a_file_in_the_folder(silhouette, talk, tmp_path):
    result = silhouette(talk, "-o", tmp_path / "out", "--video-format", "webp")
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["talk.webp"]


def test_video_format_is_rejected_for_photos(silhouette, tmp_path):
    (tmp_path / "a.jpg").write_bytes(make_jpeg(quadrants()))
    result = silhouette(tmp_path / "a.jpg", "-o", tmp_path / "out", "--video-format", "gif")
    assert result.exit_code == 1
    assert "--video-format: has no effect on photos" in result.stderr


def test_missing_input_is_reported_before_the_video_format(silhouette, tmp_path):
    result = silhouette(tmp_path / "gone", "-o", tmp_path / "out", "--video-format", "gif")
    assert result.exit_code == 1
    assert "gone: The file does not exist." in result.stderr
    assert "--video-format" not in result.stderr


@pytest.mark.parametrize("name", ["frames.mp4", "frames.gif"])
def test_existing_folder_with_a_video_suffix_gets_pictures(silhouette, talk, tmp_path, name):
    (tmp_path / name).mkdir()
    result = silhouette(talk, "-o", tmp_path / name)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / name).glob("*.png"))) == 20


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
    for name, shape in (
        ("out.webm", (47, 63, 3)),
        ("out.mov", (47, 63, 3)),
        ("out.gif", (47, 63, 3)),
        ("out.mp4", (46, 62, 3)),
    ):
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
        (("-o", "out.mkv"), "videos are written as .mp4 or .mov or .webm or .webp or .gif"),
        (("-o", "out.mts"), "or .gif, not .mts"),
        (("-o", "out.mp4", "--video-format", "gif"), "gif does not match the suffix of out.mp4"),
        (("-o", "out", "--video-format", "mp4", "--output", "cutout"), "MP4 has no transparency"),
        (("-o", "out.png"), "out.png is one picture: name a folder"),
        (("-o", "-"), "standard output takes the result of one photo"),
        (("-o", "out.mp4", "--crop"), "--crop: the frames of a video"),
        (("-o", "out.mp4", "--domain", "half_body"), "--domain: has no effect on a video"),
        (("-o", "out.mp4", "--smoothing", "2"), "--smoothing: must be a number from 0 to 1"),
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


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("a.mts", "clip"),
        ("a.mts", "clip.jpg"),
        ("a.3gp", "clip.mp4"),
        ("a.m4v", "clip.mts"),
        ("a.m4v", "4:3.mp4"),
    ],
)
def test_video_under_any_name_is_segmented(silhouette, tmp_path, monkeypatch, content, name):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / content, uneven_times(4))
    (tmp_path / content).rename(tmp_path / name)
    result = silhouette(name, "-o", f"out of {name}.mp4")
    assert result.exit_code == 0, result.output
    assert len(read_video(tmp_path / f"out of {name}.mp4").frames) == 4
