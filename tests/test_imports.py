"""Table of the imports that each module may have. A new module needs a row here."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "service"
OURS = ("silhouette_seg", "training", "loadtests", "tests")


class Row(NamedTuple):
    """Allowed imports of modules, and of the modules below them that have no row of their own.

    Names of this project without `training` or `loadtests` are below `silhouette_seg`.
    """

    modules: str
    ours: str = ""
    """Packages and modules of this project."""
    others: str = ""
    """Third-party packages. The standard library is always allowed."""
    but: str = ""
    """Forbidden modules of the standard library."""


BASE = "errors runtime spec telemetry"
PIXELS = f"pipeline engine.base vision {BASE}"
API = f"api admission streaming engine.health engine.statistics {PIXELS}"
VISION = "PIL cv2 isal numpy pi_heif simplejpeg"
WEB = "cv2 fastapi numpy pydantic python_multipart starlette"
TRAINING = "cv2 matplotlib numpy onnx onnxruntime pydantic rich skimage torch typer"
BENCHMARK = "aiortc av cv2 httpx numpy rich skimage typer uvloop websockets"
LOADTESTS = "cv2 gevent locust matplotlib numpy skimage uvloop websockets"

# The layers, highest first: a package imports packages further down alone. docs/architecture.md has
# the drawing.
ROWS = [
    Row("cli __main__", "silhouette_seg", "pydantic rich typer"),
    Row(
        "server",
        "server app lifecycle settings api errors runtime telemetry",
        "numpy starlette uvicorn",
    ),
    Row("app assembly", f"__version__ assembly lifecycle loading settings engine {API}", "fastapi"),
    Row("loading", f"settings engine pipeline {BASE}"),
    Row("api lifecycle", API, WEB),
    # Reaches the other processes of the server.
    Row("api.forwarding", API, "httpx starlette"),
    Row("video", f"video streaming {PIXELS}", "av cv2 numpy"),
    Row("streaming", f"admission streaming {PIXELS}", "numpy starlette"),
    Row("streaming.webrtc", f"admission streaming {PIXELS}", "aioice aiortc av cv2 numpy"),
    Row("pipeline", PIXELS, "cv2 numpy"),
    # The extra `import` brings onnx; the commands load the package when they are used.
    Row("model_import", f"model_import engine {PIXELS}", "numpy onnx onnxruntime"),
    Row("admission", "errors runtime telemetry", "numpy"),
    Row("engine", f"engine {BASE}", "numpy"),
    Row("engine.onnx", "engine.base errors runtime spec", "numpy onnxruntime"),
    Row("engine.triton", f"engine {BASE}", "grpc numpy tritonclient"),
    Row("vision", "vision errors runtime spec", VISION, but="asyncio"),
    Row("telemetry", "runtime telemetry", "prometheus_client"),
    # The one module that imports OpenTelemetry's SDK; it is loaded when tracing is configured.
    Row("telemetry.otel", "telemetry", "opentelemetry"),
    Row("spec settings", "errors spec", "pydantic pydantic_settings"),
    Row("library", f"library api.request engine {PIXELS}", "PIL cv2 numpy rich"),
    # The package exports the library and the clients, which are loaded on first use.
    Row("silhouette_seg", "client errors library"),
    Row(
        "client",
        "client errors runtime streaming.protocol api.request.signatures",
        "httpx tenacity websockets",
    ),
    Row("runtime", "errors runtime", "PIL cv2 numpy"),
    Row("streaming.smoothing", "", "cv2 numpy"),
    # The client shares the bytes of the stream protocol. Both modules import no other package.
    Row("errors streaming.protocol"),
    Row("training", f"training engine streaming {PIXELS}", TRAINING),
    # Compares the pipeline below HTTP with a running server; it needs no torch.
    Row(
        "training.benchmark",
        f"training.benchmark engine library streaming.protocol {PIXELS}",
        BENCHMARK,
    ),
    Row("loadtests", "loadtests", LOADTESTS),
    # Competing servers, which run in environments of their own.
    Row("loadtests.compare.servers", "", "PIL cv2 fastapi litserve mediapipe numpy onnxruntime"),
]


def full_name(name: str) -> str:
    return name if name.partition(".")[0] in OURS else f"silhouette_seg.{name}"


TABLE = {full_name(name): row for row in ROWS for name in row.modules.split()}


def row_of(module: str) -> Row:
    """Returns the row of a module, or of its nearest package.

    Modules directly below `silhouette_seg` need a row of their own.
    """
    if module.startswith("silhouette_seg.") and module.count(".") == 1:
        return TABLE[module]
    while module not in TABLE:
        module = module.rpartition(".")[0]
    return TABLE[module]


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def allowed(name: str, row: Row) -> bool:
    top = name.partition(".")[0]
    if top in OURS:
        return any(f"{name}.".startswith(f"{full_name(ours)}.") for ours in row.ours.split())
    if top in sys.stdlib_module_names:
        return top not in row.but.split()
    return top in row.others.split()


def refused(module: str, source: str) -> list[str]:
    return [name for name in imported(source) if not allowed(name, row_of(module))]


def modules() -> Iterator[tuple[str, Path]]:
    for root, top in ((SOURCES, "silhouette_seg"), (ROOT, "training"), (ROOT, "loadtests")):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


@pytest.mark.parametrize(
    ("module", "path"), [pytest.param(*each, id=each[0]) for each in modules()]
)
def test_module_imports_only_allowed_modules(module, path):
    assert refused(module, path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("silhouette_seg.engine.batcher", "import onnxruntime"),
        ("silhouette_seg.app", "import grpc"),
        ("silhouette_seg.engine.onnx", "from tritonclient import grpc"),
        ("silhouette_seg.engine.onnx", "from silhouette_seg.engine import fake"),
        ("silhouette_seg.pipeline.zoom", "from silhouette_seg.engine import batcher"),
        ("silhouette_seg.pipeline.photo", "from silhouette_seg.api import schemas"),
        ("silhouette_seg.admission.keys", "from silhouette_seg.pipeline import photo"),
        ("silhouette_seg.vision.codec.decode", "import asyncio"),
        (
            "silhouette_seg.vision.codec.decode",
            "def late():\n    from silhouette_seg import settings",
        ),
        ("silhouette_seg.api.segment", "from silhouette_seg.engine.onnx import OnnxEngine"),
        ("silhouette_seg.telemetry", "from silhouette_seg import errors"),
        ("silhouette_seg.app", "import torch.nn"),
        ("silhouette_seg.app", "from training import train"),
        ("training.train", "from silhouette_seg.api import segment"),
        ("training.data.mattes", "import fastapi"),
        ("loadtests.users.runner", "import silhouette_seg"),
        ("silhouette_seg.settings", "import pydantic_settings_of_another"),
        ("silhouette_seg.server.server", "from silhouette_seg.cli import main"),
        ("silhouette_seg.app", "from silhouette_seg.server import server"),
        ("silhouette_seg.assembly", "from silhouette_seg import app"),
        ("silhouette_seg.lifecycle", "from silhouette_seg import settings"),
        ("silhouette_seg.api.segment", "from silhouette_seg import lifecycle"),
        ("silhouette_seg.streaming.protocol", "import numpy"),
        ("silhouette_seg.telemetry.tracing", "import opentelemetry"),
        ("silhouette_seg", "import httpx"),
        ("silhouette_seg.client.calls", "from silhouette_seg.pipeline import photo"),
        ("silhouette_seg.library.session", "from silhouette_seg.settings import Settings"),
        ("training.benchmark.model", "import torch"),
        ("loadtests.compare.servers.lit", "from loadtests.compare import masks"),
    ],
)
def test_import_check_reports_forbidden_import(module, source):
    assert len(refused(module, source)) == 1


def test_import_check_rejects_module_without_row():
    with pytest.raises(KeyError):
        refused("silhouette_seg.stranger", "import json")


def test_source_root_is_not_importable_as_a_package():
    run = subprocess.run(
        [sys.executable, "-c", "import service.silhouette_seg"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "import silhouette_seg instead" in run.stderr


def test_application_import_loads_no_engine_and_no_training():
    code = "import sys, silhouette_seg.app; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    tops = {name.partition(".")[0] for name in run.stdout.split()}
    assert "silhouette_seg" in tops
    assert tops & {"grpc", "onnxruntime", "torch", "tritonclient", "training"} == set()


@pytest.mark.parametrize("module", ["silhouette_seg.engine.onnx", "training.evaluation.onnx_model"])
def test_onnx_runtime_loads_with_telemetry_disabled(module):
    code = f"""
import os, sys
seen = []
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            seen.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
import {module}
print(seen)
"""
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == "['1']", run.stderr
