"""The `silhouette` command on a full disk, and a server that cannot write its log.

`/dev/full` stands in for the temporary file of a result: each write to it fails as on a full disk.
Where this process may mount a file system, a disk of a few kilobytes fills up for real.
"""

import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from tests.faults.process import free_port, serving
from tests.integration.conftest import on_socket
from tests.integration.pictures import picture
from tests.support.images import make_png, person
from tests.support.tiny_model import tiny_spec, write_tiny_model
from tests.support.videos import make_video, uneven_times

ROOT = Path(__file__).resolve().parents[2]
FULL = "No space left on device"
NAMES = ("a", "b", "c")
PATIENCE_S = 120
PNG = {"content-type": "image/png"}
FLUSH_FAILED = 120
"""Python's exit code if it cannot flush its standard streams at exit."""


@pytest.fixture
def models(tmp_path) -> Path:
    write_tiny_model(tmp_path / "models", tiny_spec(size_hw=(48, 64)))
    return tmp_path / "models"


@pytest.fixture
def silhouette(models, monkeypatch):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(models))
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, ["segment", *map(str, arguments)])


@pytest.fixture
def album(tmp_path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.png").write_bytes(make_png(person(40, 60)))
    return folder


@pytest.fixture
def video(tmp_path) -> Path:
    make_video(tmp_path / "video.mp4", uneven_times(20), sound=True)
    return tmp_path / "video.mp4"


def fill_disk_for(folder: Path, *names: str) -> Path:
    """Makes writing these results to the folder fail as on a full disk; returns the folder."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f".{name}.part").symlink_to("/dev/full")
    return folder


@pytest.mark.parametrize("where", ["local", "remote"])
def test_unwritable_photo_is_reported_and_others_are_written(
    silhouette, album, tmp_path, settings_with, where
):
    out = fill_disk_for(tmp_path / "out", "b.png")
    if where == "local":
        ended = silhouette(album, "-o", out)
    else:
        with on_socket(settings_with()) as service:
            ended = silhouette(album, "-o", out, "--server", service.url)
    assert ended.exit_code == 1
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]
    assert f"{album / 'b.png'}: {out / 'b.png'} cannot be written: {FULL}." in ended.stderr
    assert "2 of 3 photos done" in ended.stdout


def test_older_result_survives_failed_write_of_new_one(silhouette, album, tmp_path):
    out = fill_disk_for(tmp_path / "out", "a.png")
    (out / "a.png").write_bytes(b"older")
    assert silhouette(album / "a.png", "-o", out).exit_code == 1
    assert (out / "a.png").read_bytes() == b"older"
    assert len(list(out.iterdir())) == 1


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_unwritable_video_leaves_no_file(silhouette, video, tmp_path, name):
    out = fill_disk_for(tmp_path / "out", name)
    ended = silhouette(video, "-o", out / name)
    assert ended.exit_code == 1
    assert list(out.iterdir()) == []
    assert f"{video}: The video cannot be written: {FULL}." in ended.stderr
    assert "0 of 1 files done" in ended.stdout


@cache
def may_mount() -> bool:
    attempt = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True
    )
    return attempt.returncode == 0


def segment_to_small_disk(
    disk: Path, kilobytes: int, *arguments: object
) -> tuple[int, str, list[str]]:
    """Runs `silhouette segment` with a new disk of this size mounted at `disk`.

    Returns the exit code, standard error and the names of the files left. Only this command sees
    the disk, which vanishes with it. Skips the test if the process may not mount a disk.
    """
    if not may_mount():
        pytest.skip("this process may not mount a disk")
    disk.mkdir()
    command = [sys.executable, "-m", "silhouette_seg", "segment", *map(str, arguments)]
    script = (
        f"mount -t tmpfs -o size={kilobytes}k tmpfs {disk} || exit 99\n"
        '"$@" >&2\n'
        f"echo $?; cd {disk}; find . -type f -printf '%P\\n'"
    )
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *command],
        cwd=ROOT,
        env=os.environ | {"SILHOUETTE_MODEL_REPOSITORY": str(disk.parent / "models")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    code, *files = ended.stdout.split()
    return int(code), ended.stderr, sorted(files)


def test_disk_that_fills_up_keeps_complete_photos(models, tmp_path):
    """A page has 4 KiB and a mask needs less than one: the disk has room for two masks."""
    album = tmp_path / "album"
    album.mkdir()
    for name in NAMES:
        (album / f"{name}.png").write_bytes(make_png(person(40, 60)))
    code, stderr, files = segment_to_small_disk(
        tmp_path / "disk", 8, album, "-o", tmp_path / "disk"
    )
    assert code == 1
    assert len(files) == 2
    assert set(files) < {f"{name}.png" for name in NAMES}
    assert f"cannot be written: {FULL}." in stderr
    assert "2 of 3 photos done" in stderr


@pytest.mark.parametrize("name", ["a.mp4", "frames"])
def test_disk_that_fills_up_keeps_no_partial_video(models, video, tmp_path, name):
    code, stderr, files = segment_to_small_disk(
        tmp_path / "disk", 4, video, "-o", tmp_path / "disk" / name
    )
    assert code == 1
    assert files == []
    assert FULL in stderr
    assert "cannot be written" in stderr
    assert "Traceback" not in stderr


def test_server_without_room_for_log_serves_and_stops(models, tmp_path):
    unlogged = serving(tmp_path, models, port=free_port(), log=Path("/dev/full"), engine="onnx")
    with unlogged as server:
        for _ in range(3):
            photo = make_png(person(40, 60))
            picture(server.http.post("/v1/segment", content=photo, headers=PNG))
        assert server.requests(200, "ok") == 3
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit_code() in (0, FLUSH_FAILED)
