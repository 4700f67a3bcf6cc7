"""The gateway as its users start it: a process of its own, with its models on a Triton."""

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
from tests.triton.client import until

PATIENCE_S = 60
"""For a start, and for any answer, beside other work."""

IN_FLIGHT = "silhouette_requests_in_flight"


@dataclass(frozen=True)
class GatewayProcess:
    process: subprocess.Popen[bytes]
    url: str
    log_file: Path

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_S, verify=False)

    @property
    def runs(self) -> bool:
        return self.process.poll() is None


@contextmanager
def run_gateway(folder: Path, **settings: object) -> Iterator[GatewayProcess]:
    """Listens until the block ends, whether or not Triton is there; `folder` is for the log."""
    given = {"engine": "triton", **settings}
    ours = {f"SILHOUETTE_{name.upper()}": str(value) for name, value in given.items()}
    log_file = folder / "gateway.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "silhouette_seg", "serve", "--port", "0"],
            env=os.environ | ours,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield GatewayProcess(process, _url(process, log_file), log_file)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        process.kill()
        process.wait()


def _url(process: subprocess.Popen[bytes], log_file: Path) -> str:
    """Where it says that it listens."""
    give_up = time.monotonic() + PATIENCE_S
    while not (said := re.search(r"listening on (\S+)", log_file.read_text())):
        assert process.poll() is None, log_file.read_text()
        assert time.monotonic() < give_up, "the gateway never listened"
        time.sleep(0.01)
    return said[1]


async def requests_in_flight(client: httpx.AsyncClient) -> float:
    """How many the gateway is at work on."""
    text = (await client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    return sum(s.value for f in families for s in f.samples if f.name == IN_FLIGHT)


async def wait_until_ready(client: httpx.AsyncClient) -> None:
    async def ready() -> bool:
        return (await client.get("/readyz")).status_code == 200

    await until(ready)


async def post(client: httpx.AsyncClient, model: str, photo: np.ndarray) -> httpx.Response:
    """A PNG, which keeps every pixel."""
    return await client.post(
        f"/v1/segment?model={model}&refine=none",
        content=make_png(photo),
        headers={"content-type": "image/png"},
    )


def assert_mask_of(photo: np.ndarray, answer: httpx.Response) -> None:
    """The fault models answer the red channel; a photo of their own size is not resized, and one
    that is red all over is a person all over.
    """
    assert photo[..., 0].min() > MASK_THRESHOLD
    np.testing.assert_array_equal(picture(answer), photo[..., 0])


def retryable_code(answer: httpx.Response) -> str:
    """The code of an answer that must say to come again."""
    document = problem(answer)
    assert answer.status_code in (503, 504), document
    assert document["retryable"] is True
    if answer.status_code == 503:
        assert answer.headers["retry-after"] == "1"
    return document["code"]
