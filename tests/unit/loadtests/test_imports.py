"""Tests of imports: importing locust would patch sockets and threads of all other tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_LOCUST = ("compare", "measurement", "report", "scenario")


def test_modules_without_users_import_no_locust():
    files = (
        file for name in WITHOUT_LOCUST for file in (ROOT / "loadtests" / name).glob("[a-z]*.py")
    )
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys, {', '.join(names)}; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert {"gevent", "locust"}.isdisjoint(run.stdout.split())
    assert {"loadtests.scenario.arrival", "loadtests.report.page"} <= set(run.stdout.split())
