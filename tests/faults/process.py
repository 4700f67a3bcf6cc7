"""The service as its users start it, in a process of its own, with models that the test can stop.

Its settings are those of the environment, with `SILHOUETTE_ENGINE=held`.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.faults.metrics import value

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60
"""For anything, beside other work."""


@dataclass(frozen=True)
class Serving:
    process: subprocess.Popen[bytes]
    port: int
    log_file: Path
    http: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def hold(self) -> None:
        self.process.send_signal(signal.SIGUSR1)

    def release(self) -> None:
        self.process.send_signal(signal.SIGUSR2)

    def metric(self, name: str, **labels: str) -> float:
        return value(self.http.get("/metrics"), name, **labels)

    def requests(self, status: int, code: str) -> float:
        labels = {"route": "/v1/segment", "status": str(status), "code": code}
        return self.metric("silhouette_requests_total", **labels)

    def ready(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def wait(self, condition: Callable[[], bool]) -> None:
        """For something that no event of ours can tell, since it happens in another process."""
        give_up = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < give_up, self.log
            time.sleep(0.01)

    def ended(self) -> int:
        """The exit code."""
        return self.process.wait(PATIENCE_S)


@contextmanager
def serving(
    folder: Path, repository: Path, *, port: int = 0, log: Path | None = None, **settings: object
) -> Iterator[Serving]:
    """Ready, until the block ends. `folder` is for its log, unless that goes elsewhere."""
    given = {"engine": "held", "model_repository": repository, **settings}
    log_file = log or folder / "server.log"
    with log_file.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.held", "serve", "--port", str(port)],
            cwd=ROOT,
            env=os.environ | {f"SILHOUETTE_{name.upper()}": str(given[name]) for name in given},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        found = port or _port(process, log_file)
        with http_client(f"http://127.0.0.1:{found}") as http:
            running = Serving(process, found, log_file, http)
            running.wait(running.ready)
            yield running
    finally:
        process.kill()
        process.wait()


def http_client(url: str) -> httpx.Client:
    """Without what only TLS needs, which takes longer to load than all else."""
    return httpx.Client(base_url=url, timeout=PATIENCE_S, verify=False)


def _port(process: subprocess.Popen[bytes], log_file: Path) -> int:
    """Where it says that it listens."""
    give_up = time.monotonic() + PATIENCE_S
    while not (said := re.search(r"listening on \S+:(\d+)", log_file.read_text())):
        assert process.poll() is None, log_file.read_text()
        assert time.monotonic() < give_up, "it never listened"
        time.sleep(0.01)
    return int(said[1])


def free_port() -> int:
    """Of loopback, which nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
