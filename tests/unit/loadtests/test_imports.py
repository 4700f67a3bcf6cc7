"""Tests of imports: importing locust would patch sockets and threads of all other tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_LOCUST = (
    *("arrival", "figures", "latency", "record", "report", "request_mix", "responses"),
    *("shapes", "stream_protocol", "thresholds"),
)


def test_modules_without_users_import_no_locust():
    imports = ", ".join(f"loadtests.{name}" for name in WITHOUT_LOCUST)
    run = subprocess.run(
        [sys.executable, "-c", f"import sys, {imports}; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert {"gevent", "locust"}.isdisjoint(run.stdout.split())
