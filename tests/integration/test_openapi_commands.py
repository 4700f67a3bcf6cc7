"""Runs the commands in the descriptions of the OpenAPI document against a server."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from silhouette_seg.api.examples import COMMANDS, SERVICE
from tests.integration.conftest import OnSocket, on_socket
from tests.support.images import make_png, quadrants

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on PATH")
WITH_OFFER = {"begin_stream", "change_stream", "end_stream"}
"""Operations that need a WebRTC peer; tests/integration/webrtc has one."""
REFUSED = {"remove_from_url"}
"""Operations that answer every request with an error."""
PATIENCE_S = 60


@pytest.fixture(scope="module")
def running(settings_with) -> Iterator[OnSocket]:
    with on_socket(settings_with()) as server:
        yield server


@needs_curl
@pytest.mark.parametrize("operation", sorted(COMMANDS.keys() - WITH_OFFER))
def test_command_of_operation_succeeds(running, operation, tmp_path):
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(make_png(quadrants(16, 24)))
    height, width = running.gateway.registry.get().spec.size_hw
    pixels = np.zeros((1, height, width, 3), np.uint8)
    tensor = {"name": "image", "datatype": "UINT8", "shape": pixels.shape, "data": pixels.tolist()}
    (tmp_path / "tensors.json").write_text(json.dumps({"inputs": [tensor]}))
    command = COMMANDS[operation].replace(SERVICE, running.url)
    curl, *rest = shlex.split(command)
    status = ["--silent", "--write-out", "\n%{http_code}"]

    result = subprocess.run(
        [curl, *status, *rest],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )

    assert result.stdout.rpartition("\n")[2] == ("400" if operation in REFUSED else "200")
    for name in re.findall(r" -o (\S+\.png)", command):
        Image.open(tmp_path / name).verify()
