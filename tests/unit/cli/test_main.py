"""The parts of the `silhouette` command that run without the service."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import silhouette_seg
from silhouette_seg.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
SERVICE_PACKAGES = {"cv2", "fastapi", "httpx", "numpy", "onnxruntime", "pydantic", "starlette"}


def modules_after(code: str) -> set[str]:
    """Returns the names of the modules that a new interpreter has loaded after `code`."""
    report = "import sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_version_option_prints_the_package_version():
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"silhouette {silhouette_seg.__version__}\n"


def test_package_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert silhouette_seg.__version__ == project["version"]


def test_unknown_package_attribute_raises_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        silhouette_seg.Server  # noqa: B018


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_command_option_loads_no_service_package(option):
    code = f"from silhouette_seg.cli.main import app; app([{option!r}], standalone_mode=False)"
    loaded = modules_after(code)
    assert "silhouette_seg.cli.main" in loaded
    assert not loaded & SERVICE_PACKAGES


def test_package_import_loads_no_other_module():
    loaded = modules_after("import silhouette_seg")
    assert {name for name in loaded if name.startswith("silhouette_seg")} == {"silhouette_seg"}
    assert not loaded & SERVICE_PACKAGES


@pytest.mark.parametrize("name", ["errors.InvalidArgument", "client.Refused", "library.Session"])
def test_submodule_is_an_attribute_of_the_package(name):
    modules_after(f"import silhouette_seg; silhouette_seg.{name}")
    assert name.partition(".")[0] in dir(silhouette_seg)


def test_client_export_loads_no_service_package():
    loaded = modules_after("from silhouette_seg import Client")
    assert "silhouette_seg.client.clients" in loaded
    assert not loaded & (SERVICE_PACKAGES - {"httpx"})


def test_commands_load_neither_client_nor_libav():
    loaded = modules_after("import silhouette_seg.server.server, silhouette_seg.cli.segment")
    assert "silhouette_seg.cli.local" in loaded
    assert "av" not in loaded
    packages = ("silhouette_seg.client", "silhouette_seg.video")
    assert not [name for name in loaded if name.startswith(packages)]


def test_segment_command_loads_no_package_of_the_server():
    loaded = modules_after("import silhouette_seg.cli.segment, silhouette_seg.cli.local")
    packages = {"fastapi", "httpx", "onnxruntime", "prometheus_client", "python_multipart"}
    assert not loaded & (packages | {"starlette", "uvicorn"})
