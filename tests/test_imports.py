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
    """Allowed imports of a module, and of the modules below it that have no row of their own."""

    ours: str = ""
    """Packages and modules of this project."""
    others: str = ""
    """Third-party packages; `*` allows all but `NEVER`. The standard library is always allowed."""
    but: str = ""
    """Exceptions: forbidden modules of the standard library or of `*`."""


NEVER = "grpc onnxruntime torch tritonclient"
WEB = "fastapi starlette uvicorn"


def package(*names: str) -> str:
    """The full names of modules of silhouette_seg, for the column `ours`."""
    return " ".join(f"silhouette_seg.{name}" for name in names)


BASE = ("errors", "spec", "telemetry", "runtime")
PIXELS = ("pipeline", "engine.base", "vision", *BASE)
API = ("api", "admission", "streaming", "engine.health", *PIXELS)

TABLE = {
    # Exports the client, which is loaded on first use.
    "silhouette_seg": Row(package("client")),
    "silhouette_seg.errors": Row(),
    "silhouette_seg.spec": Row(package("errors"), "pydantic"),
    "silhouette_seg.settings": Row("", "pydantic pydantic_settings"),
    "silhouette_seg.runtime": Row("", "cv2"),
    "silhouette_seg.telemetry": Row(package("telemetry"), "prometheus_client"),
    # The one module that imports OpenTelemetry's SDK; it is loaded when tracing is configured.
    "silhouette_seg.telemetry.otel": Row(package("telemetry"), "opentelemetry"),
    "silhouette_seg.vision": Row(
        package("errors", "spec", "vision"), "PIL cv2 isal numpy simplejpeg", but="asyncio"
    ),
    "silhouette_seg.admission": Row(package("errors", "telemetry")),
    "silhouette_seg.engine": Row(
        package("engine", "errors", "runtime", "spec", "telemetry"), "numpy"
    ),
    "silhouette_seg.engine.onnx": Row(
        package("engine.base", "errors", "spec"), "numpy onnxruntime"
    ),
    "silhouette_seg.engine.triton": Row(
        package("engine", "errors", "spec", "telemetry"), "grpc numpy tritonclient"
    ),
    "silhouette_seg.engine.triton_model_config": Row(package("spec"), "tritonclient"),
    "silhouette_seg.pipeline": Row(package(*PIXELS), "cv2 numpy"),
    "silhouette_seg.streaming": Row(package("admission", "streaming", *PIXELS), "numpy starlette"),
    # The bytes of the stream protocol, which the client shares.
    "silhouette_seg.streaming.protocol": Row(),
    "silhouette_seg.streaming.smoothing": Row("", "cv2 numpy"),
    "silhouette_seg.streaming.webrtc": Row(
        package("admission", "streaming", *PIXELS), "aioice aiortc av cv2 numpy"
    ),
    "silhouette_seg.video": Row(package("video", "streaming", *PIXELS), "av cv2 numpy"),
    "silhouette_seg.client": Row(package("client", "streaming.protocol"), "httpx websockets"),
    "silhouette_seg.api": Row(
        package(*API), "cv2 fastapi numpy pydantic python_multipart starlette"
    ),
    "silhouette_seg.server": Row("silhouette_seg", "*"),
    "silhouette_seg.cli": Row("silhouette_seg", "*"),
    "silhouette_seg.__main__": Row("silhouette_seg"),
    "silhouette_seg.app": Row("silhouette_seg", "*"),
    "silhouette_seg.assembly": Row("silhouette_seg", "*"),
    "silhouette_seg.lifecycle": Row(package("api", "engine.base", "errors", "telemetry"), WEB),
    "training": Row(
        f"training {package('engine', 'streaming', *PIXELS)}", "* onnxruntime torch", but=WEB
    ),
    # Compares the pipeline below HTTP with a running server; it needs no torch.
    "training.benchmark": Row(
        f"training.benchmark {package('engine', 'streaming.protocol', *PIXELS)}", "*", but=WEB
    ),
    "loadtests": Row("loadtests", "*"),
    # Competing servers, which run in environments of their own.
    "loadtests.compare.servers": Row("", "* onnxruntime"),
}


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
        return any(f"{name}.".startswith(f"{ours}.") for ours in row.ours.split())
    if top in row.but.split():
        return False
    if top in sys.stdlib_module_names or top in row.others.split():
        return True
    return "*" in row.others and top not in NEVER.split()


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
    assert tops & {*NEVER.split(), "training"} == set()


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
