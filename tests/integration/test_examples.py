"""Runs the examples of the documents against the service with its own models.

Only the port differs, and curl fails on an error status.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from silhouette_seg.cli.main import app
from silhouette_seg.settings import Settings
from tests.integration.conftest import OnSocket, on_socket
from tests.integration.page.browser import launched_chromium, needs_browser, started_playwright
from tests.support.documents import Block, all_blocks
from tests.support.foreign_graphs import PUBLISHED, Graph
from tests.support.images import make
from tests.support.tiny_model import tiny_spec, write_tiny_model
from tests.support.videos import make_video

ADDRESS = "127.0.0.1:8000"
"""Address in the text of the examples."""
CURL = 'set -euo pipefail\ncurl() { command curl --fail-with-body "$@"; }\n'
HTTP_ERROR = 22
"""Exit status of curl for a status above 399."""
PATIENCE_S = 120
CAMERA_FLAGS = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on PATH")
_NOT_BLANK = """([id]) => {
  const drawn = document.getElementById(id);
  if (drawn.tagName === 'IMG') return drawn.naturalWidth > 0;
  return drawn.getContext('2d').getImageData(0, 0, drawn.width, drawn.height).data.some(Boolean);
}"""


def examples(language: str, word: str) -> Any:
    """Parametrizes a test by the blocks of a language that contain `word`."""
    blocks = [block for block in all_blocks(language) if word in block.code]
    return pytest.mark.parametrize("block", blocks, ids=str)


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def page_origin(page_folder) -> Iterator[str]:
    """Origin of another web server, with pages that call the service."""
    serve = partial(_Quiet, directory=str(page_folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def running(page_origin) -> Iterator[OnSocket]:
    with on_socket(Settings(workers=2, cors_origins=(page_origin,))) as server:
        yield server


@pytest.fixture
def localise(running) -> Callable[[str], str]:
    """Replaces the address in code by that of the running server."""
    return lambda code: code.replace(ADDRESS, running.url.removeprefix("http://"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Folder with the files that the examples use."""
    photo = make("JPEG")
    for name in ("photo.jpg", "a.jpg", "b.jpg", "beach.jpg", "photos/1.jpg", "frames/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(photo)
    make_video(tmp_path / "talk.mp4", sound=True)
    PUBLISHED["isnet"].write(tmp_path, "isnet.onnx")
    Graph(ending="Identity").write(tmp_path, "logits.onnx")
    (tmp_path / "takes").mkdir()
    write_tiny_model(tmp_path / "my_models", tiny_spec("rcrnet"))
    shutil.copy(tmp_path / "talk.mp4", tmp_path / "takes" / "1.mp4")
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@needs_curl
@examples("sh", "curl ")
def test_curl_example_runs_as_documented(block: Block, localise, folder):
    result = run(["bash", "-c", CURL + localise(block.code)], folder)

    assert result.returncode == (HTTP_ERROR if block.note == "refused" else 0), result
    for name in re.findall(r" -o (\S+)", block.code):
        output = folder / name
        assert output.stat().st_size > 100
        if output.suffix == ".png":
            Image.open(output).verify()
    if block.following is not None and block.following.language == "json":
        assert same_shape(json.loads(result.stdout), json.loads(block.following.code))


def same_shape(actual: object, documented: object) -> bool:
    """Compares JSON values: equal keys at every level, and values of the same types."""
    if isinstance(actual, dict) and isinstance(documented, dict):
        return actual.keys() == documented.keys() and all(
            same_shape(actual[name], documented[name]) for name in actual
        )
    return isinstance(actual, type(documented)) or isinstance(documented, type(actual))


COMMANDS = [
    line
    for block in all_blocks("sh")
    for line in block.code.splitlines()
    if line.startswith("silhouette ") and line != "silhouette serve"
]
"""Commands of the documents, without the one that ends with the server alone."""


@pytest.mark.parametrize("line", COMMANDS)
def test_command_line_example_succeeds(line, localise, folder, monkeypatch):
    """Runs the command in this process: starting a process takes longer than the command."""
    monkeypatch.chdir(folder)
    _, *words = shlex.split(localise(line), comments=True)
    result = CliRunner().invoke(app, words)

    assert result.exit_code == 0, result.output
    if "-o" in words:
        assert Path(words[words.index("-o") + 1]).exists()


@examples("python", "")
def test_python_example_runs_as_documented(block: Block, localise, folder):
    (folder / "example.py").write_text(localise(block.code))
    before = set(folder.iterdir())
    result = run([sys.executable, "-W", "error", "example.py"], folder)

    assert result.returncode == 0, result
    if "write" in block.code:
        assert set(folder.iterdir()) > before
    if "print" in block.code:
        assert result.stdout.strip()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with (
        started_playwright() as playwright,
        launched_chromium(playwright, *CAMERA_FLAGS) as browser,
    ):
        yield browser


@pytest.mark.browser
@needs_browser
@examples("js", ADDRESS)
def test_javascript_example_shows_its_result(
    block: Block, localise, folder, chromium, page_folder, page_origin
):
    """The page has the elements of the document, and another origin than the service.

    A block without the address is part of an example. Tests of the page run the same steps.
    """
    elements = re.findall(r"<(?:input|img|video|canvas)[^>]*>", block.document.read_text())
    page = f"{''.join(elements)}<script type=module>{localise(block.code)}</script>"
    (page_folder / "index.html").write_text(f"<!doctype html><meta charset=utf-8>{page}")
    tab = chromium.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page_origin)
    if "photo.files" in block.code:
        tab.set_input_files("#photo", folder / "photo.jpg")
    element = "person" if "person" in block.code else "view"
    tab.wait_for_function(_NOT_BLANK, arg=[element], timeout=1000 * PATIENCE_S)
    tab.close()
    assert errors == []
