"""A running server, its documents as files, and the results that generated clients save."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from silhouette_seg.client.batch import split_responses
from tests.integration.conftest import on_socket
from tests.support.images import make_png, quadrants

CLIENTS = Path(__file__).parent / "clients"
PATIENCE_S = 300
SIZE_HW = (48, 64)


@dataclass(frozen=True)
class Workshop:
    """A folder with documents of a running server, and commands that run there."""

    url: str
    folder: Path

    def run(self, *command: str | Path, **environment: str) -> str:
        """Runs a command in the folder, and returns its output. Fails with it on an error."""
        result = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    def check_client(self, *command: str | Path, **environment: str) -> None:
        """Runs a program that saves results, and checks each.

        They are a mask, a cut-out, a mask of a binary body, a batch and a problem.
        """
        results = self.folder / "results"
        results.mkdir()
        self.run(*command, self.url, self.folder / "photo.png", results, **environment)
        mask = np.asarray(Image.open(results / "mask"))
        assert mask.shape == SIZE_HW
        assert mask[0, 0] > 200 > 50 > mask[-1, 0]
        assert np.asarray(Image.open(results / "cutout")).shape == (*SIZE_HW, 4)
        assert (results / "binary").read_bytes() == (results / "mask").read_bytes()
        batch = (results / "batch").read_bytes()
        boundary = batch.partition(b"\r\n")[0].removeprefix(b"--").decode()
        content_type = {"content-type": f"multipart/mixed; boundary={boundary}"}
        parts = split_responses(httpx.Response(200, headers=content_type, content=batch))
        assert [part.status_code for part in parts] == [200, 200]
        assert parts[1].content == (results / "mask").read_bytes()
        problem = json.loads((results / "problem").read_text())
        assert (problem["code"], problem["status"]) == ("bad_parameter", 400)
        assert problem["detail"] == "background: needs output=composite"


@pytest.fixture(scope="module")
def server_url(settings_with) -> Iterator[str]:
    with on_socket(settings_with()) as running:
        yield running.url


@pytest.fixture
def workshop(server_url, tmp_path) -> Workshop:
    """A folder with `openapi.json`, `asyncapi.json` and `photo.png`: red, green, blue, white."""
    for name in ("openapi.json", "asyncapi.json"):
        (tmp_path / name).write_bytes(httpx.get(f"{server_url}/{name}").raise_for_status().content)
    (tmp_path / "photo.png").write_bytes(make_png(quadrants(*SIZE_HW)))
    return Workshop(server_url, tmp_path)
