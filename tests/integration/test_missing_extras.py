"""Installations that lack an extra: each error names the extra to install."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from silhouette_seg.app import create_app
from silhouette_seg.cli import local
from silhouette_seg.cli.main import app
from silhouette_seg.errors import InstallationError
from silhouette_seg.runtime import extras
from tests.support.videos import make_video, uneven_times

OF_SERVE = {"cv2", "fastapi", "isal", "numpy", "PIL", "pydantic", "rich", "starlette", "typer"}
"""Modules of the extra `serve` that the client must not need."""
OF_LIVE = {"aioice", "aiortc", "av"}


def run_without(names: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in an interpreter that cannot import the modules `names`."""
    # None makes `import` raise ModuleNotFoundError, and `find_spec` return None.
    script = f"import sys; sys.modules.update(dict.fromkeys({sorted(names)!r})); {code}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def absent(*names):
    """Returns a replacement of `is_installed` that finds everything except `names`."""
    return lambda name: name not in names


def test_client_imports_without_serve():
    result = run_without(OF_SERVE | OF_LIVE, "from silhouette_seg import Client; print(Client)")
    assert (result.returncode, result.stderr) == (0, "")
    assert "silhouette_seg.client" in result.stdout


def test_library_without_serve_names_the_extras():
    result = run_without(OF_SERVE, "from silhouette_seg import segment; segment('photo.jpg')")
    assert result.returncode == 1
    assert "Photos in this process need cv2" in result.stderr
    assert "pip install 'silhouette-seg[cpu]'" in result.stderr


def test_command_without_serve_names_the_extras():
    result = run_without(OF_SERVE, "from silhouette_seg.__main__ import main; main()")
    assert result.returncode == 1
    assert "typer" in result.stderr
    assert "pip install 'silhouette-seg[cpu]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_application_imports_without_live_and_video():
    code = "import silhouette_seg.app"
    result = run_without(OF_LIVE | {"onnxruntime", "tritonclient"}, code)
    assert (result.returncode, result.stderr) == (0, "")


def test_start_without_runtime_names_both_extras(settings_with, monkeypatch):
    monkeypatch.setattr(extras, "is_installed", absent("onnxruntime"))
    with pytest.raises(InstallationError, match=r"silhouette-seg\[cpu\].*silhouette-seg\[gpu\]"):
        create_app(settings_with())


def test_start_with_two_runtimes_names_them(settings_with, monkeypatch):
    monkeypatch.setattr(extras, "_is_distribution", {"onnxruntime", "onnxruntime-gpu"}.__contains__)
    with pytest.raises(InstallationError, match="onnxruntime and onnxruntime-gpu"):
        create_app(settings_with())


def test_command_reports_missing_runtime_without_traceback(repository, monkeypatch):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(repository))
    monkeypatch.setattr(extras, "is_installed", absent("onnxruntime"))
    ended = CliRunner().invoke(app, ["serve", "--port", "0"])
    assert ended.exit_code == 1
    assert "silhouette-seg[cpu]" in ended.stderr
    assert isinstance(ended.exception, SystemExit)


def test_start_for_triton_without_client_names_the_extra(settings_with, monkeypatch):
    monkeypatch.delitem(sys.modules, "silhouette_seg.engine.triton.engine", raising=False)
    for module in ("tritonclient", "tritonclient.grpc"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InstallationError, match=r"silhouette-seg\[triton\]"):
        create_app(settings_with(engine="triton", triton_url="127.0.0.1:1"))


def test_video_file_without_av_names_the_extra(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("SILHOUETTE_MODEL_REPOSITORY", str(repository))
    monkeypatch.setenv("COLUMNS", "200")
    make_video(tmp_path / "a.mp4", uneven_times(2))
    monkeypatch.setattr(local, "is_installed", absent("av"))
    ended = CliRunner().invoke(
        app, ["segment", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "out")]
    )
    assert ended.exit_code == 1
    assert "pip install 'silhouette-seg[video]'" in ended.stderr
    assert not list((tmp_path / "out").glob("*"))
