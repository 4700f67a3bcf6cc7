"""Tests of running a server: readiness, process tree, environment and termination."""

import sys
from pathlib import Path

import pytest

from loadtests.compare.http_client import upload_request
from loadtests.compare.process import ServerFailed, run_server
from tests.support.mask_server import mask_png

ROOT = Path(__file__).resolve().parents[4]
SERVER = ROOT / "tests" / "support" / "mask_server.py"
READINESS_REQUEST = upload_request("/mask", b"photo")
CHILD = "import signal; signal.pause()"
WITH_A_CHILD = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {CHILD!r}])
sys.argv = sys.argv[1:]
sys.path.insert(0, {str(ROOT)!r})
exec(open(sys.argv[0]).read())
"""


def start(*command: str):
    return run_server(
        command,
        folder=ROOT,
        environment={"PYTHONPATH": str(ROOT)},
        readiness_request=READINESS_REQUEST,
    )


@pytest.fixture
def mask(tmp_path):
    file = tmp_path / "mask.png"
    file.write_bytes(mask_png())
    return str(file)


async def test_server_tree_includes_children_and_ends_with_block(mask):
    command = (sys.executable, "-c", WITH_A_CHILD, str(SERVER), "{port}", mask)
    async with start(*command) as server:
        assert len(server.tree.pids()) == 2
        assert server.tree.cpu_s() > 0
        assert server.tree.memory_mb() > 10
        assert server.ready_s > 0
    assert server.tree.pids() == []


async def test_server_that_exits_raises_with_its_output():
    code = "import sys; sys.exit('no model here')"
    with pytest.raises(ServerFailed, match=r"exited with code 1\n.*no model here"):
        async with start(sys.executable, "-c", code):
            pass


async def test_server_environment_has_no_silhouette_settings(mask, monkeypatch):
    monkeypatch.setenv("SILHOUETTE_WORKERS", "7")
    code = "import os, sys; sys.exit(str([n for n in os.environ if n.startswith('SILHOUETTE_')]))"
    with pytest.raises(ServerFailed, match=r"\[\]"):
        async with start(sys.executable, "-c", code):
            pass
