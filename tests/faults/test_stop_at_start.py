"""SIGTERM before the service is ready: while Python imports it, and while its models warm up."""

import os
import signal
import subprocess
import sys

import pytest

from tests.faults.process import PATIENCE_S, ROOT, starting


def test_sigterm_during_warm_up_exits_without_error(repository, tmp_path):
    with starting(tmp_path, repository, engine="stuck") as server:
        server.wait_until(lambda: server.http.get("/readyz").json()["code"] == "warming_up")
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit_code() == 0
    assert "Traceback" not in server.log
    assert "failed its warm-up" not in server.log


@pytest.mark.parametrize("imported", ["silhouette_seg.cli", "typer", "numpy", "silhouette_seg.app"])
def test_sigterm_during_imports_exits_with_zero(imported, repository):
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "silhouette_seg", "serve", "--port", "0"],
        cwd=ROOT,
        env=os.environ | {"SILHOUETTE_MODEL_REPOSITORY": str(repository)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        # Each line ends with the name of a module whose import has just ended.
        lines = iter(process.stderr.readline, "")
        assert any(line.rpartition("|")[2].strip() == imported for line in lines)
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "Traceback" not in rest
