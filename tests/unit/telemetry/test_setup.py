import subprocess
import sys
from pathlib import Path

import pytest

from silhouette_seg.telemetry import NoOpTracing, open_tracing

ROOT = Path(__file__).resolve().parents[3]


def test_open_tracing_without_extra_names_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "silhouette_seg.telemetry.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(
        ValueError, match=r"opentelemetry\.sdk\.trace is missing.*silhouette-seg\[otel]"
    ):
        open_tracing("http://127.0.0.1:4318", "1.2.3")


def test_open_tracing_without_endpoint_loads_no_sdk():
    code = """
import sys, silhouette_seg.app
from silhouette_seg.telemetry import open_tracing
print(type(open_tracing(None, "1.2.3")).__name__)
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exp"))])
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split("\n")[:2] == [NoOpTracing.__name__, "[]"]
