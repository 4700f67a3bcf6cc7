"""The `silhouette` command where there is no room for its results, and a server without any for
its log.

`/dev/full` stands in for the file that a result is first written to: the kernel then says of every
write what it says of a full disk. Where this process may mount one, a disk of a few kilobytes fills
up as disks do.
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
NOTHING_SAID = 120
"""Python's exit code where what was left to say at the end could not be written."""


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
def talk(tmp_path) -> Path:
    make_video(tmp_path / "talk.mp4", uneven_times(20), audio=True)
    return tmp_path / "talk.mp4"


def no_room_for(folder: Path, *names: str) -> Path:
    """Whoever writes one of these hears that the disk is full."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f".{name}.part").symlink_to("/dev/full")
    return folder


@pytest.mark.parametrize("where", ["here", "on a server"])
def test_a_photo_without_room_is_told_and_the_rest_is_written(
    silhouette, album, tmp_path, settings_with, where
):
    out = no_room_for(tmp_path / "out", "b.png")
    if where == "here":
        ended = silhouette(album, "-o", out)
    else:
        with on_socket(settings_with()) as service:
            ended = silhouette(album, "-o", out, "--server", service.url)
    assert ended.exit_code == 1
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]
    assert f"{album / 'b.png'}: {out / 'b.png'} cannot be written: {FULL}." in ended.stderr
    assert "2 of 3 photos done" in ended.stdout


def test_an_older_result_stays_where_there_is_no_room_for_a_new_one(silhouette, album, tmp_path):
    out = no_room_for(tmp_path / "out", "a.png")
    (out / "a.png").write_bytes(b"older")
    assert silhouette(album / "a.png", "-o", out).exit_code == 1
    assert (out / "a.png").read_bytes() == b"older"
    assert len(list(out.iterdir())) == 1


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_a_video_without_room_leaves_nothing(silhouette, talk, tmp_path, name):
    out = no_room_for(tmp_path / "out", name)
    ended = silhouette(talk, "-o", out / name)
    assert ended.exit_code == 1
    assert list(out.iterdir()) == []
    assert f"{talk}: The video cannot be written: {FULL}." in ended.stderr
    assert "0 of 1 files done" in ended.stdout


@cache
def may_mount() -> bool:
    tried = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True
    )
    return tried.returncode == 0


def on_a_small_disk(disk: Path, kilobytes: int, *arguments: object) -> tuple[int, str, list[str]]:
    """Exit code, what was said, and the files left, each with its size. The disk is seen by these
    commands alone, and gone with them.
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


def test_photos_until_the_disk_is_full(models, tmp_path):
    """Pages are 4 KiB and each mask is less than one: the disk has room for two."""
    album = tmp_path / "album"
    album.mkdir()
    for name in NAMES:
        (album / f"{name}.png").write_bytes(make_png(person(40, 60)))
    code, said, files = on_a_small_disk(tmp_path / "disk", 8, album, "-o", tmp_path / "disk")
    assert code == 1
    assert len(files) == 2
    assert set(files) < {f"{name}.png" for name in NAMES}
    assert f"cannot be written: {FULL}." in said
    assert "2 of 3 photos done" in said


@pytest.mark.parametrize("name", ["a.mp4", "frames"])
def test_a_video_until_the_disk_is_full(models, talk, tmp_path, name):
    code, said, files = on_a_small_disk(tmp_path / "disk", 4, talk, "-o", tmp_path / "disk" / name)
    assert code == 1
    assert files == []
    assert FULL in said
    assert "cannot be written" in said
    assert "Traceback" not in said


def test_a_server_without_room_for_its_log_answers_and_stops_as_ever(models, tmp_path):
    full = serving(tmp_path, models, port=free_port(), log=Path("/dev/full"), engine="onnx")
    with full as server:
        for _ in range(3):
            photo = make_png(person(40, 60))
            picture(server.http.post("/v1/segment", content=photo, headers=PNG))
        assert server.requests(200, "ok") == 3
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() in (0, NOTHING_SAID)
