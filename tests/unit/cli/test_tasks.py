"""Plans of files and their results."""

from pathlib import Path

import pytest

from silhouette_seg.api.request.parameters import parse_parameters
from silhouette_seg.cli.tasks import check_videos, plan_tasks
from silhouette_seg.errors import BadParameter, NotAcceptable
from silhouette_seg.vision.codec.decode import ImageFormat

CUTOUT = parse_parameters({"output": "cutout"})


@pytest.fixture
def album(tmp_path) -> Path:
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.mp4", "notes.txt", "sub/c.MOV"):
        (folder / name).touch()
    return folder


def planned(inputs, to, **more):
    """Returns the results relative to the parent of `to`, and the failures."""
    tasks, failures = plan_tasks(inputs, to, ImageFormat.PNG, **more)
    return [str(task.result.relative_to(to.parent)) for task in tasks], failures


def test_folder_results_keep_its_subfolders(album, tmp_path):
    assert planned([album], tmp_path / "out", video_suffix=".webm") == (
        ["out/a.png", "out/b.webm", "out/sub/c.webm"],
        [],
    )


def test_single_video_becomes_the_named_file(album, tmp_path):
    for name in ("out.mp4", "OUT.WEBM"):
        (task,), failures = plan_tasks([album / "b.mp4"], tmp_path / name, ImageFormat.PNG)
        assert (task.source, task.result) == (album / "b.mp4", tmp_path / name)
        assert task.is_video
        assert not failures


def test_single_video_becomes_frames_in_a_folder(album, tmp_path):
    (task,), _ = plan_tasks([album / "b.mp4"], tmp_path / "frames", ImageFormat.PNG)
    assert task.result == tmp_path / "frames"


def test_several_videos_become_files_in_the_folder(album, tmp_path):
    both = [album / "b.mp4", album / "sub" / "c.MOV"]
    assert planned(both, tmp_path / "out")[0] == ["out/b.mp4", "out/c.mp4"]


@pytest.mark.parametrize(
    ("names", "to", "reason"),
    [
        (["a.jpg"], "out.mp4", "name a folder"),
        (["b.mp4", "sub/c.MOV"], "out.webm", "name a folder"),
        (["."], "out.webm", "name a folder"),
        (["b.mp4"], "out.avi", r"\.mp4 or \.webm, not \.avi"),
    ],
)
def test_impossible_result_is_rejected_with_reason(album, tmp_path, names, to, reason):
    with pytest.raises(ValueError, match=reason):
        plan_tasks([album / name for name in names], tmp_path / to, ImageFormat.PNG)


def test_source_video_is_never_overwritten(album):
    for to in (album / "b.mp4", album):
        inputs = [album / "b.mp4"] if to.suffix else [album / "b.mp4", album / "a.jpg"]
        _, failures = plan_tasks(inputs, to, ImageFormat.PNG)
        assert [failure.source for failure in failures] == [album / "b.mp4"]
        assert "would overwrite a video" in failures[0].reason


def test_missing_video_is_a_failure(tmp_path):
    _, (failure,) = plan_tasks([tmp_path / "no.mp4"], tmp_path / "out.mp4", ImageFormat.PNG)
    assert failure.reason == "The file does not exist."


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"output": "cutout"}, NotAcceptable),
        ({"crop": "true"}, BadParameter),
        ({"domain": "half_body"}, BadParameter),
    ],
)
def test_photo_options_are_rejected_for_videos(album, tmp_path, parameters, error):
    tasks, _ = plan_tasks([album / "b.mp4"], tmp_path / "out.mp4", ImageFormat.PNG)
    with pytest.raises(error):
        check_videos(tasks, parse_parameters(parameters))
    photos, _ = plan_tasks([album / "a.jpg"], tmp_path / "out", ImageFormat.PNG)
    check_videos(photos, parse_parameters(parameters))


@pytest.mark.parametrize("to", ["out.webm", "frames"])
def test_video_cutout_is_accepted_where_transparency_fits(album, tmp_path, to):
    tasks, _ = plan_tasks([album / "b.mp4"], tmp_path / to, ImageFormat.PNG)
    check_videos(tasks, CUTOUT)
