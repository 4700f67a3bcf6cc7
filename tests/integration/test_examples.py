"""The examples of the documents, as they are written, against the service with its own models.

Only the port is another, and a curl that is refused fails.
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
from tests.integration.visit import FLAGS
from tests.support.documents import Block, all_blocks
from tests.support.images import make
from tests.support.videos import make_video

ADDRESS = "127.0.0.1:8000"
"""As it stands in the examples."""
CURL = 'set -euo pipefail\ncurl() { command curl --fail-with-body "$@"; }\n'
REFUSED = 22
"""What curl says of an answer over 399."""
PATIENCE_S = 120
CAMERA_FLAGS = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
CHROMIUM = shutil.which("chromium")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on PATH")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on PATH")
_NOT_BLANK = """([id]) => {
  const drawn = document.getElementById(id);
  if (drawn.tagName === 'IMG') return drawn.naturalWidth > 0;
  return drawn.getContext('2d').getImageData(0, 0, drawn.width, drawn.height).data.some(Boolean);
}"""


def examples(language: str, saying: str) -> Any:
    """Parametrizes a test by the blocks of that language that have such a word in them."""
    found = [block for block in all_blocks(language) if saying in block.code]
    return pytest.mark.parametrize("block", found, ids=str)


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def page_origin(page_folder) -> Iterator[str]:
    """A web server that is not ours, for pages that call ours."""
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
def here(running) -> Callable[[str], str]:
    """Code with the port of the server that runs."""
    return lambda code: code.replace(ADDRESS, running.url.removeprefix("http://"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """The files that the examples talk of."""
    photo = make("JPEG")
    for name in ("photo.jpg", "a.jpg", "b.jpg", "beach.jpg", "photos/1.jpg", "frames/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(photo)
    make_video(tmp_path / "talk.mp4", sound=True)
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@needs_curl
@examples("sh", "curl ")
def test_curl(block: Block, here, folder):
    done = run(["bash", "-c", CURL + here(block.code)], folder)

    assert done.returncode == (REFUSED if block.note == "refused" else 0), done
    for made in re.findall(r" -o (\S+)", block.code):
        written = folder / made
        assert written.stat().st_size > 100
        if written.suffix == ".png":
            Image.open(written).verify()
    if block.following is not None and block.following.language == "json":
        assert same_shape(json.loads(done.stdout), json.loads(block.following.code))


def same_shape(got: object, written: object) -> bool:
    """The same names, all the way down, and values of the same types."""
    if isinstance(got, dict) and isinstance(written, dict):
        return got.keys() == written.keys() and all(
            same_shape(got[name], written[name]) for name in got
        )
    return isinstance(got, type(written)) or isinstance(written, type(got))


COMMANDS = [
    line
    for block in all_blocks("sh")
    for line in block.code.splitlines()
    if line.startswith("silhouette ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_line(line, here, folder, monkeypatch):
    """In this process: to start one for each takes longer than what it does."""
    monkeypatch.chdir(folder)
    _, *words = shlex.split(here(line), comments=True)
    done = CliRunner().invoke(app, words)

    assert done.exit_code == 0, done.output
    if "-o" in words:
        assert Path(words[words.index("-o") + 1]).exists()


@examples("python", "")
def test_python(block: Block, here, folder):
    (folder / "example.py").write_text(here(block.code))
    before = set(folder.iterdir())
    done = run([sys.executable, "-W", "error", "example.py"], folder)

    assert done.returncode == 0, done
    if "write" in block.code:
        assert set(folder.iterdir()) > before
    if "print" in block.code:
        assert done.stdout.strip()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=(*FLAGS, *CAMERA_FLAGS)
        )
        yield browser
        browser.close()


@pytest.mark.browser
@needs_browser
@examples("js", "")
def test_javascript(block: Block, here, folder, chromium, page_folder, page_origin):
    """On a page with the elements that the document names, from an origin that is not ours."""
    elements = re.findall(r"<(?:input|img|video|canvas)[^>]*>", block.document.read_text())
    page = f"{''.join(elements)}<script type=module>{here(block.code)}</script>"
    (page_folder / "index.html").write_text(f"<!doctype html><meta charset=utf-8>{page}")
    visit = chromium.new_page()
    complaints: list[str] = []
    visit.on("pageerror", lambda error: complaints.append(str(error)))
    visit.goto(page_origin)
    if "photo.files" in block.code:
        visit.set_input_files("#photo", folder / "photo.jpg")
    shown = "person" if "person" in block.code else "view"
    visit.wait_for_function(_NOT_BLANK, arg=[shown], timeout=1000 * PATIENCE_S)
    visit.close()
    assert complaints == []
