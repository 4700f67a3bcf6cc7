"""Plans of files and their results."""

from pathlib import Path

import pytest

from silhouette_seg.api.request.parameters import parse_parameters
from silhouette_seg.cli.tasks import (
    VIDEO_RESULT_SUFFIXES,
    check_videos,
    plan_tasks,
    without_videos,
)
from silhouette_seg.errors import BadParameter, NotAcceptable
from silhouette_seg.video.containers import CONTAINERS
from silhouette_seg.vision.codec.decode import ImageFormat

PHOTO = b"\xff\xd8\xff\xe0"
VIDEO = b"\0\0\0\x18ftypisom\0\0\2\0"
CUTOUT = parse_parameters({"output": "cutout"})


@pytest.fixture
def album(tmp_path) -> Path:
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    for name, content in (("a.jpg", PHOTO), ("b.mp4", VIDEO), ("sub/c.MOV", VIDEO)):
        (folder / name).write_bytes(content)
    (folder / "notes.txt").write_text("no photo")
    return folder


def planned(inputs, to, **more):
    """Returns the results relative to the parent of `to`, and the failures."""
    plan = plan_tasks(inputs, to, ImageFormat.PNG, **more)
    return [str(task.result.relative_to(to.parent)) for task in plan.tasks], plan.failures


def test_folder_results_keep_its_subfolders(album, tmp_path):
    assert planned([album], tmp_path / "out", video_suffix=".webm") == (
        ["out/a.png", "out/b.webm", "out/sub/c.webm"],
        [],
    )


def test_single_video_becomes_the_named_file(album, tmp_path):
    for name in ("out.mp4", "OUT.WEBM", "out.mov", "out.webp", "out.gif"):
        plan = plan_tasks([album / "b.mp4"], tmp_path / name, ImageFormat.PNG)
        (task,) = plan.tasks
        assert (task.source, task.result) == (album / "b.mp4", tmp_path / name)
        assert task.is_video
        assert not plan.failures


def test_single_video_becomes_frames_in_a_folder(album, tmp_path):
    (task,) = plan_tasks([album / "b.mp4"], tmp_path / "frames", ImageFormat.PNG).tasks
    assert task.result == tmp_path / "frames"


def test_single_video_with_a_format_becomes_a_file_in_the_folder(album, tmp_path):
    one = ([album / "b.mp4"], tmp_path / "out", ImageFormat.PNG, ".gif")
    (task,) = plan_tasks(*one, frames_in_folder=False).tasks
    assert task.result == tmp_path / "out" / "b.gif"


def test_every_video_format_has_a_container():
    assert set(VIDEO_RESULT_SUFFIXES) == set(CONTAINERS)
    opaque = {suffix for suffix, one in CONTAINERS.items() if one.alpha_pixel_format is None}
    assert opaque == {".mp4"}


def test_plan_for_a_service_has_videos_as_failures(album, tmp_path):
    (album / "b.png").write_bytes(PHOTO)
    plan = without_videos(plan_tasks([album], tmp_path / "out", ImageFormat.PNG))
    assert [task.source.name for task in plan.tasks] == ["a.jpg", "b.png"]
    assert [failure.source.name for failure in plan.failures] == ["b.mp4", "c.MOV"]
    assert plan.has_videos


def test_several_videos_become_files_in_the_folder(album, tmp_path):
    both = [album / "b.mp4", album / "sub" / "c.MOV"]
    assert planned(both, tmp_path / "out")[0] == ["out/b.mp4", "out/c.mp4"]


@pytest.mark.parametrize(
    ("names", "to", "reason"),
    [
        (["a.jpg"], "out.mp4", "name a folder"),
        (["b.mp4", "sub/c.MOV"], "out.webm", "name a folder"),
        (["."], "out.webm", "name a folder"),
        (["b.mp4"], "out.avi", r"\.mp4 or .* or \.gif, not \.avi"),
        (["b.mp4"], "out.mts", r"\.mp4 or .* or \.gif, not \.mts"),
        (["b.mp4"], "out.jpg", "name a folder"),
        (["a.jpg"], "out.mov", "name a folder"),
        (["a.jpg"], "out.gif", "pictures are written as"),
    ],
)
def test_impossible_result_is_rejected_with_reason(album, tmp_path, names, to, reason):
    with pytest.raises(ValueError, match=reason):
        plan_tasks([album / name for name in names], tmp_path / to, ImageFormat.PNG)


def test_source_video_is_never_overwritten(album):
    for to in (album / "b.mp4", album):
        inputs = [album / "b.mp4"] if to.suffix else [album / "b.mp4", album / "a.jpg"]
        failures = plan_tasks(inputs, to, ImageFormat.PNG).failures
        assert [failure.source for failure in failures] == [album / "b.mp4"]
        assert "would overwrite a video" in failures[0].reason


def test_missing_video_is_a_failure(tmp_path):
    plan = plan_tasks([tmp_path / "no.mp4"], tmp_path / "out.mp4", ImageFormat.PNG)
    (failure,) = plan.failures
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
    tasks = plan_tasks([album / "b.mp4"], tmp_path / "out.mp4", ImageFormat.PNG).tasks
    with pytest.raises(error):
        check_videos(tasks, parse_parameters(parameters))
    photos = plan_tasks([album / "a.jpg"], tmp_path / "out", ImageFormat.PNG).tasks
    check_videos(photos, parse_parameters(parameters))


def test_inputs_with_one_name_all_keep_their_suffix(album, tmp_path):
    (album / "a.png").write_bytes(PHOTO)
    (album / "b.mkv").write_bytes(VIDEO)
    plan = plan_tasks([album], tmp_path / "out", ImageFormat.PNG)
    results = [str(task.result.relative_to(tmp_path / "out")) for task in plan.tasks]
    assert results == ["a.jpg.png", "a.png.png", "b.mkv.mp4", "b.mp4.mp4", "sub/c.mp4"]
    assert plan.renamed == plan.tasks[:4]
    assert not plan.failures


def test_inputs_of_one_name_from_two_folders_keep_their_folder(album, tmp_path):
    other = tmp_path / "2024"
    (other / "sub").mkdir(parents=True)
    for name in ("a.jpg", "sub/d.jpg"):
        (other / name).write_bytes(PHOTO)
    results, failures = planned([album / "a.jpg", other], tmp_path / "out")
    assert results == ["out/album/a.jpg.png", "out/2024/a.jpg.png", "out/sub/d.png"]
    assert not failures


def test_longer_result_name_that_is_taken_gets_a_folder(album, tmp_path):
    for name in ("a.png", "a.jpg.webp"):
        (album / name).write_bytes(PHOTO)
    photos = [album / name for name in ("a.jpg", "a.png", "a.jpg.webp")]
    results, failures = planned(photos, tmp_path / "out")
    assert results == ["out/album/a.jpg.png", "out/a.png.png", "out/a.jpg.png"]
    assert not failures


def test_result_is_never_renamed_to_spare_a_source(album):
    """The second run of one command in place has the results of the first as inputs."""
    (album / "a.png").write_bytes(PHOTO)
    plan = plan_tasks([album / "a.jpg", album / "a.png"], album, ImageFormat.PNG)
    assert not plan.tasks
    assert all("would overwrite a photo" in failure.reason for failure in plan.failures)


@pytest.mark.parametrize("to", ["out.webm", "out.mov", "out.webp", "out.gif", "frames"])
def test_video_cutout_is_accepted_where_transparency_fits(album, tmp_path, to):
    tasks = plan_tasks([album / "b.mp4"], tmp_path / to, ImageFormat.PNG).tasks
    check_videos(tasks, CUTOUT)
