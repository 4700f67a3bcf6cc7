"""Signals that stop `silhouette segment` in a process of its own, with a slow model."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import on_socket
from tests.integration.pictures import pixels
from tests.support.images import make_png, quadrants
from tests.support.tiny_model import write_tiny_model
from tests.support.videos import make_video

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
SIGINT, SIGTERM, SIGHUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
EXIT_CODES = {SIGINT: 130, SIGTERM: -SIGTERM, SIGHUP: -SIGHUP}


@pytest.fixture
def slow_models(tmp_path) -> Path:
    write_tiny_model(tmp_path / "models", inversions=50_000)
    return tmp_path / "models"


@contextmanager
def segmenting(
    tmp_path: Path, *arguments: str, models: str = "models"
) -> Iterator[subprocess.Popen[str]]:
    """Runs `silhouette segment` in `tmp_path` with a folder of models there."""
    running = subprocess.Popen(
        [sys.executable, "-m", "silhouette_seg", "segment", *arguments],
        cwd=tmp_path,
        env=os.environ
        | {
            "SILHOUETTE_MODEL_REPOSITORY": str(tmp_path / models),
            "PYTHONPATH": str(ROOT / "service"),
            "COLUMNS": "200",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A background job of a shell ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(SIGINT, signal.SIG_DFL),
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def wait_until(condition: Callable[[], object], running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.01)


def end(running: subprocess.Popen[str], signals: list[signal.Signals]) -> str:
    """Sends the signals, checks the exit code and returns the output."""
    for number in signals:
        running.send_signal(number)
    output, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == EXIT_CODES[signals[0]], output
    assert "Traceback" not in output
    assert f"stopped by {signals[0].name}" in output
    return output


@pytest.mark.parametrize(
    ("signals", "result"),
    [
        ([SIGINT], "out/a.mp4"),
        ([SIGINT, SIGINT], "out/a.mp4"),
        ([SIGTERM], "out/a.mp4"),
        ([SIGTERM], "out/frames"),
        ([SIGHUP], "out/frames"),
    ],
)
def test_signal_leaves_no_partial_video(slow_models, tmp_path, signals, result):
    """The whole video would take minutes."""
    make_video(tmp_path / "long.mp4", list(range(0, 3000 * 2000, 3000)))
    (tmp_path / "out").mkdir()
    with segmenting(tmp_path, "long.mp4", "-o", result) as running:
        wait_until(lambda: list((tmp_path / "out").iterdir()), running)
        output = end(running, signals)
    assert list((tmp_path / "out").iterdir()) == []
    assert "0 of 1 files done" in output


def make_album(folder: Path) -> None:
    """Makes a folder of photos that would take minutes."""
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:03}.png").write_bytes(make_png(quadrants()))


def check_results(out: Path) -> None:
    results = list(out.iterdir())
    assert 0 < len(results) < 300
    assert all(pixels(result.read_bytes()).shape == (64, 96) for result in results)


@pytest.mark.parametrize("signals", [[SIGINT], [SIGTERM]])
def test_signal_keeps_finished_photos_and_run_can_resume(slow_models, tmp_path, signals):
    make_album(tmp_path / "album")
    out = tmp_path / "out"
    with segmenting(tmp_path, "album", "-o", "out") as running:
        wait_until(lambda: list(out.glob("*.png")), running)
        output = end(running, signals)
    check_results(out)
    assert " of 300 photos done, in out" in output
    times = {result: result.stat().st_mtime_ns for result in out.iterdir()}
    for photo in (tmp_path / "album").iterdir():  # a few photos are enough to resume with
        if photo.stem > "020" and not (out / photo.name).exists():
            photo.unlink()
    write_tiny_model(tmp_path / "fast")
    command = ("album", "-o", "out", "--skip-existing")
    with segmenting(tmp_path, *command, models="fast") as running:
        output, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, output
    assert f"result exists ({len(times)})" in output
    assert {result: result.stat().st_mtime_ns for result in times} == times
    assert len(list(out.iterdir())) == len(list((tmp_path / "album").iterdir()))


def test_sigterm_keeps_finished_photos_of_a_service(slow_models, tmp_path, settings_with):
    make_album(tmp_path / "album")
    out = tmp_path / "out"
    with (
        on_socket(settings_with(model_repository=slow_models)) as service,
        segmenting(tmp_path, "album", "-o", "out", "--server", service.url) as running,
    ):
        wait_until(lambda: list(out.glob("*.png")), running)
        end(running, [SIGTERM])
    check_results(out)
