"""What is tested here does not make the sockets and threads of other tests gevent's."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PURE = ("answers", "arrival", "asks", "figures", "frames", "record", "report", "shapes")


def test_arithmetic_and_report_import_no_locust():
    imports = ", ".join(f"loadtests.{name}" for name in (*PURE, "thresholds"))
    run = subprocess.run(
        [sys.executable, "-c", f"import sys, {imports}; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert {"gevent", "locust"}.isdisjoint(run.stdout.split())
