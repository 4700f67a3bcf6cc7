"""Who may import whom. A new module needs a row here: say what it stands on."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("service", "training", "loadtests", "tests")


class Row(NamedTuple):
    """What the module, and all below it without a row of their own, may import."""

    ours: str = ""
    others: str = ""
    """Packages from outside; `*` is any but those of `NEVER`. The standard library is free."""
    but: str = ""
    """Not these, of the standard library or of `*`."""


NEVER = "grpc onnxruntime torch tritonclient"
WEB = "fastapi starlette uvicorn"
ENGINE = "service.engine.base service.errors service.spec"
SEGMENTER = (
    f"{ENGINE} service.domains service.routing service.second_look service.vision service.workers"
)
STREAMING = (
    "service.draw service.engine.base service.errors service.look service.render"
    " service.segmenter service.streaming service.telemetry service.vision service.workers"
)
ROUTES = (
    "service.admission service.auth service.catalog service.domains service.engine.base"
    " service.engine.checked service.errors service.look"
    " service.problems service.render service.routes service.routing service.schemas"
    " service.segmenter service.streaming service.telemetry service.turns service.vision"
    " service.workers"
)
BENCHMARK = (
    "training.benchmark service.batcher service.capacity service.catalog service.engine"
    " service.look service.render service.spec service.streaming.wire service.vision"
    " service.workers"
)
TRAINING = "training service.errors service.routing service.spec service.vision"

TABLE = {
    "service": Row(),
    "service.errors": Row(),
    "service.capacity": Row(),
    "service.memory": Row(),
    "service.spec": Row("service.errors", "pydantic"),
    "service.settings": Row("", "pydantic pydantic_settings"),
    "service.schemas": Row("", "pydantic"),
    "service.telemetry": Row("service.telemetry", "prometheus_client"),
    # The one file that knows OpenTelemetry's SDK; loaded where traces are asked for.
    "service.telemetry.otel": Row("service.telemetry", "opentelemetry"),
    "service.admission": Row("service.errors"),
    "service.turns": Row("service.errors"),
    "service.auth": Row("service.errors"),
    "service.workers": Row("", "cv2"),
    "service.vision": Row(
        "service.errors service.spec service.vision", "PIL cv2 isal numpy simplejpeg", but="asyncio"
    ),
    "service.routing": Row("service.vision.geometry", "numpy"),
    "service.engine": Row("service.engine.base service.spec"),
    "service.engine.base": Row("service.spec", "numpy"),
    "service.engine.fake": Row(ENGINE, "numpy"),
    "service.engine.onnx": Row(ENGINE, "numpy onnxruntime"),
    "service.engine.checked": Row(ENGINE, "numpy"),
    "service.engine.watched": Row("service.engine.base service.spec", "numpy"),
    "service.engine.breaker": Row(),
    "service.engine.faults": Row("service.errors"),
    # The identity of the request goes along to the server, for its traces.
    "service.engine.triton": Row(
        f"{ENGINE} service.engine.breaker service.engine.faults service.telemetry",
        "grpc numpy tritonclient",
    ),
    "service.batcher": Row(ENGINE, "numpy"),
    "service.domains": Row(f"{ENGINE} service.routing service.vision service.workers", "numpy"),
    "service.second_look": Row("service.routing service.vision", "cv2 numpy"),
    "service.segmenter": Row(SEGMENTER, "numpy"),
    "service.catalog": Row(f"{SEGMENTER} service.segmenter", "numpy"),
    "service.look": Row("service.vision.layout"),
    "service.draw": Row("service.look service.routing service.segmenter service.vision", "numpy"),
    "service.render": Row(
        "service.domains service.draw service.errors service.look service.routing service.segmenter"
        " service.vision"
    ),
    "service.streaming": Row(STREAMING, "numpy"),
    # Pure: what a test can put into a table.
    "service.streaming.slot": Row(),
    "service.streaming.temporal": Row("", "cv2 numpy"),
    "service.streaming.websocket": Row(STREAMING, "numpy starlette"),
    "service.streaming.webrtc": Row(STREAMING, "aioice aiortc av cv2 numpy"),
    "service.streaming.wire": Row(),
    # Nothing in the gateway imports it.
    "service.client": Row("service.client service.streaming.wire", "httpx websockets"),
    # Of the command line.
    "service.plan": Row("service.errors service.look service.routes.options service.vision"),
    "service.posting": Row("service.client service.errors service.files service.plan"),
    # libav is here, and late: a photo does without.
    "service.video": Row(
        "service.draw service.segmenter service.streaming service.video service.vision"
        " service.workers",
        "av cv2 numpy",
    ),
    "service.connection": Row("", "uvicorn"),
    "service.http_connection": Row(
        "service.errors service.problems service.safe_headers service.telemetry", "uvicorn"
    ),
    "service.removebg_errors": Row("service.errors service.routes.removebg.options"),
    "service.problems": Row(
        "service.errors service.removebg_errors service.schemas service.telemetry", WEB
    ),
    "service.safe_headers": Row("", WEB),
    "service.exchange": Row("service.errors service.problems service.telemetry", WEB),
    "service.routes": Row(ROUTES, "fastapi numpy pydantic python_multipart starlette"),
    # Pixels, and what they are to be: no HTTP.
    "service.routes.removebg.options": Row("service.errors"),
    "service.routes.removebg.picture": Row(
        "service.draw service.errors service.look service.routes.removebg.options"
        " service.segmenter service.vision",
        "cv2 numpy",
    ),
    # Tensors as they travel: no HTTP.
    "service.routes.inference.wire": Row(
        "service.engine.base service.errors service.routes.inference service.spec", "numpy"
    ),
    "service.routes.inference.documents": Row("", "numpy"),
    "service.routes.inference": Row(f"{ROUTES} service.spec", "fastapi numpy pydantic starlette"),
    **dict.fromkeys(
        ("service.app", "service.server", "service.cli", "service.files", "service.__main__"),
        Row("service", "*"),
    ),
    "training": Row(TRAINING, "* onnxruntime torch", but=WEB),
    "training.verify": Row(f"{TRAINING} service.engine", "* onnxruntime torch", but=WEB),
    # Shows clips to the streams that are served.
    "training.report": Row(
        f"{TRAINING} service.catalog service.draw service.engine service.look service.second_look"
        " service.segmenter service.streaming service.workers",
        "* onnxruntime torch",
        but=WEB,
    ),
    # Photos as the service draws them where nobody chooses.
    "training.gallery": Row(
        f"{TRAINING} service.catalog service.draw service.engine service.look"
        " service.routes.options service.segmenter service.workers",
        "*",
        but=WEB,
    ),
    # Calls the pipeline below HTTP in process, to compare it with a server; torch-free.
    "training.benchmark": Row(BENCHMARK, "*", but=WEB),
    "loadtests": Row("loadtests", "*"),
    # What others would write; they run in environments of their own.
    "loadtests.compare.servers": Row("", "* onnxruntime"),
}


def row_of(module: str) -> Row:
    """Its own, or that of the nearest package; modules right below `service` need their own."""
    if module.startswith("service.") and module.count(".") == 1:
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
    for top in ("service", "training", "loadtests"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


@pytest.mark.parametrize(
    ("module", "path"), [pytest.param(*each, id=each[0]) for each in modules()]
)
def test_imports_are_those_of_the_table(module, path):
    assert refused(module, path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("service.batcher", "import onnxruntime"),
        ("service.app", "import grpc"),
        ("service.engine.onnx", "from tritonclient import grpc"),
        ("service.batcher", "from service.engine import fake"),
        ("service.vision.decode", "import asyncio"),
        ("service.vision.decode", "def late():\n    from service import settings"),
        ("service.routes.segment", "from service.engine.onnx import OnnxEngine"),
        ("service.telemetry", "from service import errors"),
        ("service.app", "import torch.nn"),
        ("service.app", "from training import train"),
        ("training.train", "from service.engine import open_engine"),
        ("training.data.mattes", "import fastapi"),
        ("loadtests.users", "import service"),
        ("service.settings", "import pydantic_settings_of_another"),
    ],
)
def test_the_check_sees_what_is_forbidden(module, source):
    assert len(refused(module, source)) == 1


def test_a_module_without_a_row_is_seen():
    with pytest.raises(KeyError):
        refused("service.stranger", "import json")


def test_importing_the_application_loads_no_engine_and_no_training():
    code = "import sys, service.app; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    tops = {name.partition(".")[0] for name in run.stdout.split()}
    assert "service" in tops
    assert tops & {*NEVER.split(), "training"} == set()


@pytest.mark.parametrize("module", ["service.engine.onnx", "training.onnx_model"])
def test_onnx_runtime_is_loaded_with_its_reporting_off(module):
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
