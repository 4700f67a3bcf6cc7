"""Servers are processes of their own, counted with all that they start and ended with it."""

import sys
from pathlib import Path

import pytest

from loadtests.compare.process import ServerFailed, running
from loadtests.compare.wire import upload
from tests.support.mask_server import mask_png

ROOT = Path(__file__).resolve().parents[4]
SERVER = ROOT / "tests" / "support" / "mask_server.py"
ASKS = upload("/mask", b"photo")
CHILD = "import signal; signal.pause()"
WITH_A_CHILD = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {CHILD!r}])
sys.argv = sys.argv[1:]
sys.path.insert(0, {str(ROOT)!r})
exec(open(sys.argv[0]).read())
"""


def started(*command: str):
    return running(command, folder=ROOT, environment={"PYTHONPATH": str(ROOT)}, asks=ASKS)


@pytest.fixture
def mask(tmp_path):
    file = tmp_path / "mask.png"
    file.write_bytes(mask_png())
    return str(file)


async def test_a_server_is_counted_with_its_children_and_leaves_none(mask):
    command = (sys.executable, "-c", WITH_A_CHILD, str(SERVER), "{port}", mask)
    async with started(*command) as server:
        assert len(server.tree.pids()) == 2
        assert server.tree.cpu_s() > 0
        assert server.tree.memory_mb() > 10
        assert server.ready_s > 0
    assert server.tree.pids() == []


async def test_a_server_that_ends_says_why():
    code = "import sys; sys.exit('no model here')"
    with pytest.raises(ServerFailed, match=r"ended with 1\n.*no model here"):
        async with started(sys.executable, "-c", code):
            pass


async def test_settings_of_ours_do_not_reach_it(mask, monkeypatch):
    monkeypatch.setenv("SILHOUETTE_WORKERS", "7")
    code = "import os, sys; sys.exit(str([n for n in os.environ if n.startswith('SILHOUETTE_')]))"
    with pytest.raises(ServerFailed, match=r"\[\]"):
        async with started(sys.executable, "-c", code):
            pass
