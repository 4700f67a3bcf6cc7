"""Runs the commands in the descriptions of the OpenAPI document against servers."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from silhouette_seg.api.examples import COMMANDS, SERVICE
from silhouette_seg.spec import find_model_repository
from tests.integration.conftest import OnSocket, on_socket
from tests.support.images import make_png, quadrants

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")), reason="curl or bash is not on PATH"
)
OF_STREAM = {"begin_stream", "change_stream", "end_stream"}
REFUSED = {"remove_from_url"}
"""Operations that answer every request with an error."""
REPOSITORY = find_model_repository()
PUBLISHED = sorted(file.parent.name for file in REPOSITORY.glob("*/spec.json"))
HTTP_ERROR = 22
"""Exit code of `curl --fail` for a status of 400 or more."""
PATIENCE_S = 60


@pytest.fixture(scope="module")
def running(settings_with) -> Iterator[OnSocket]:
    with on_socket(settings_with(webrtc_hosts=("127.0.0.1",))) as server:
        yield server


@pytest.fixture(scope="module")
def published(settings_with) -> Iterator[OnSocket]:
    with on_socket(settings_with(model_repository=REPOSITORY)) as server:
        yield server


def run(command: str, url: str, folder: Path, *, expected: int = 0) -> str:
    """Pastes a command into a shell and returns its output; curl fails for an error status."""
    (folder / ".curlrc").write_text("fail\nsilent\nshow-error\n")
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace(SERVICE, url)],
        cwd=folder,
        env=os.environ | {"CURL_HOME": str(folder)},
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode == expected, result.stderr
    return result.stdout.decode(errors="replace")


@pytest.mark.parametrize("operation", sorted(COMMANDS.keys() - OF_STREAM))
def test_command_of_operation_succeeds(running, operation, tmp_path):
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(make_png(quadrants(16, 24)))
    command = COMMANDS[operation]
    run(command, running.url, tmp_path, expected=HTTP_ERROR if operation in REFUSED else 0)
    for name in re.findall(r" -o (\S+\.png)", command):
        Image.open(tmp_path / name).verify()


def test_commands_of_a_stream_begin_change_and_end_it(running, tmp_path):
    answer = run(COMMANDS["begin_stream"], running.url, tmp_path)
    stream = re.search(r"(?i)^location: /v1/webrtc/(\S+)", answer, re.MULTILINE)[1]
    changed = run(COMMANDS["change_stream"].replace("STREAM", stream), running.url, tmp_path)
    assert json.loads(changed)["background"] == "blur:4"
    run(COMMANDS["end_stream"].replace("STREAM", stream), running.url, tmp_path)
    assert running.gateway.streams.count == 0


@pytest.mark.parametrize("model", PUBLISHED)
def test_infer_command_runs_every_published_model(published, model, tmp_path):
    command = COMMANDS["infer"].replace("connectnet", model)
    answer = json.loads(run(command, published.url, tmp_path))
    (output,) = answer["outputs"]
    assert answer["model_name"] == model
    assert output["shape"][0] == 1
