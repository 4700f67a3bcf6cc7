"""Tests of load tests as users run them: in their own process, against a real server."""

import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import on_socket

# Not imported here: locust would patch the sockets and threads of every test for gevent.
pytestmark = pytest.mark.skipif(
    find_spec("locust") is None, reason="the extra `loadtests` is not installed"
)

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 180
LENIENT = """
[every]
"failed_share" = { at_most = 0.0 }
"health.ok" = { at_least = 1 }
"photo.sent" = { at_least = 1 }
"batch.sent" = { at_least = 1 }
"stream.sent" = { at_least = 1 }
"memory.growth_mb" = { at_most = 1000 }
"""
IMPOSSIBLE = """
[steady]
"photo.p95_ms" = { at_most = 0.001 }
"health.ok" = { at_least = 1 }
"stream.ok" = { at_least = 1 }
"""


@dataclass(frozen=True)
class LoadTestRun:
    """Result of one run of the load tests."""

    exit_code: int
    output: str
    folder: Path

    @property
    def figures(self) -> dict[str, Any]:
        return json.loads((self.folder / "figures.json").read_text())


@pytest.fixture(scope="module")
def server(settings_with):
    """A server with timeouts that a busy machine does not exceed."""
    with on_socket(settings_with(request_timeout_s=60, queue_timeout_s=60)) as running:
        yield running


@pytest.fixture
def narrow_server(settings_with):
    """A server with one photo at a time, a queue of one, and one stream."""
    with on_socket(settings_with(photos_at_once=1, queue_size=1, max_streams=1)) as running:
        yield running


@pytest.fixture
def load(tmp_path):
    """Returns a function that runs the load tests for a few seconds."""

    def run(url: str, thresholds: str, *options: str, seconds: float = 4) -> LoadTestRun:
        file = tmp_path / "thresholds.toml"
        file.write_text(thresholds)
        common = ("--url", url, "--minutes", str(seconds / 60), "--thresholds", str(file))
        process = subprocess.run(
            [sys.executable, "-m", "loadtests", *common, "--out", str(tmp_path / "out"), *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return LoadTestRun(process.returncode, process.stdout + process.stderr, tmp_path / "out")

    return run


def test_load_of_photos_batches_and_streams_meets_thresholds(server, load):
    run = load(server.url, LENIENT, "--rate", "4", "--batch-share", "0.3", "--streams", "1")
    assert run.exit_code == 0, run.output
    assert "MISSED" not in run.output
    figures = run.figures
    assert figures["failures"] == {}
    for kind in ("photo", "batch", "stream"):
        row = figures[kind]
        assert row["ok"] + row["refused"] + row["skipped"] == row["sent"]
        assert row["p95_ms"] > 0
    assert {"decode", "infer", "encode"} <= figures["stages"]["photo"].keys()
    assert figures["stages"]["stream"].keys() == {"server"}
    assert (run.folder / "plots.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/png;base64," in (run.folder / "report.html").read_text()
    assert "GET /livez" in (run.folder / "locust.html").read_text()


def test_overload_is_three_times_measured_capacity(server, load):
    overload = ("--shape", "overload", "--calibration", "4", "--batch-share", "0.3")
    run = load(server.url, LENIENT, *overload, "--streams", "1", seconds=3)
    assert run.exit_code == 0, run.output
    capacity = run.figures["capacity_per_s"]
    levels = {name: phase["level"] for name, phase in run.figures["phases"].items()}
    assert levels == pytest.approx(
        {"before": capacity / 2, "over": 3 * capacity, "after": capacity / 2}
    )
    assert run.figures["goodput_share"] > 0


def test_missed_threshold_exits_with_1(server, load):
    run = load(server.url, IMPOSSIBLE, "--users", "2", "--streams", "0", "--batch-share", "0")
    assert run.exit_code == 1, run.output
    assert "MISSED  photo.p95_ms at most 0.001" in run.output
    assert "met  health.ok at least 1" in run.output
    assert "not measured  stream.ok at least 1" in run.output
    assert '<td class="missed">' in (run.folder / "report.html").read_text()


def test_refusals_do_not_count_as_failures(narrow_server, load):
    run = load(narrow_server.url, LENIENT, "--users", "4", "--streams", "2", "--batch-share", "0.3")
    assert run.exit_code == 0, run.output
    for kind in ("photo", "stream"):
        row = run.figures[kind]
        assert row["refused"] > 0
        assert row["ok"] > 0
        assert row["failed"] == 0


def test_unreachable_server_counts_as_failed(load):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    run = load(f"http://127.0.0.1:{port}", LENIENT, "--rate", "5", "--streams", "1", seconds=2)
    assert run.exit_code == 1, run.output
    assert run.figures["failed_share"] == 1
    assert run.figures["stream"]["failed"] > 0
