"""Runs the gateway in a process of its own, with its models on Triton."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from silhouette_seg.vision.mask.quality import MASK_THRESHOLD
from tests.integration.pictures import picture, problem
from tests.support.images import make_png
from tests.triton.client import poll_until

TIMEOUT_S = 60
"""Timeout of a start and of every response, long enough for a busy machine."""

IN_FLIGHT_METRIC = "silhouette_requests_in_flight"


@dataclass(frozen=True)
class GatewayProcess:
    """A running gateway."""

    process: subprocess.Popen[bytes]
    url: str
    log_file: Path

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=TIMEOUT_S, verify=False)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None


@contextmanager
def run_gateway(folder: Path, **settings: object) -> Iterator[GatewayProcess]:
    """Runs a gateway until the block ends, even without a Triton. `folder` receives its log."""
    settings = {"engine": "triton", **settings}
    variables = {f"SILHOUETTE_{name.upper()}": str(value) for name, value in settings.items()}
    log_file = folder / "gateway.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "silhouette_seg", "serve", "--port", "0"],
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield GatewayProcess(process, _url(process, log_file), log_file)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(TIMEOUT_S)
        process.kill()
        process.wait()


def _url(process: subprocess.Popen[bytes], log_file: Path) -> str:
    """Reads the URL from the log."""
    give_up_at = time.monotonic() + TIMEOUT_S
    while not (match := re.search(r"listening on (\S+)", log_file.read_text())):
        assert process.poll() is None, log_file.read_text()
        assert time.monotonic() < give_up_at, "the gateway never listened"
        time.sleep(0.01)
    return match[1]


async def requests_in_flight(client: httpx.AsyncClient) -> float:
    """Returns the number of requests in progress at the gateway."""
    text = (await client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    return sum(s.value for f in families for s in f.samples if f.name == IN_FLIGHT_METRIC)


async def wait_until_ready(client: httpx.AsyncClient) -> None:
    async def is_ready() -> bool:
        return (await client.get("/readyz")).status_code == 200

    await poll_until(is_ready)


async def post(client: httpx.AsyncClient, model: str, photo: np.ndarray) -> httpx.Response:
    """Posts the photo as PNG, which keeps every pixel."""
    return await client.post(
        f"/v1/segment?model={model}&refine=none",
        content=make_png(photo),
        headers={"content-type": "image/png"},
    )


def assert_mask_of(photo: np.ndarray, response: httpx.Response) -> None:
    """Asserts that the mask is the red channel of the photo.

    The photo has the size of the model, so that it is not resized. It is red everywhere, so that
    all of it is a person.
    """
    assert photo[..., 0].min() > MASK_THRESHOLD
    np.testing.assert_array_equal(picture(response), photo[..., 0])


def retryable_code(response: httpx.Response) -> str:
    """Returns the error code of a response that must be retryable."""
    document = problem(response)
    assert response.status_code in (503, 504), document
    assert document["retryable"] is True
    if response.status_code == 503:
        assert response.headers["retry-after"] == "1"
    return document["code"]
