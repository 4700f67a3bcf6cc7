"""The service in a process of its own, with models that the test can hold back.

Environment variables configure it, as for any user. Its engine is `SILHOUETTE_ENGINE=held`.
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

from tests.faults.metrics import metric_value

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60
"""Timeout of every wait, in seconds: long, because the machine may be busy."""


@dataclass(frozen=True)
class ServerProcess:
    """A running server process with an HTTP client for it."""

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
        """Makes the models hold back every result until `release`."""
        self.process.send_signal(signal.SIGUSR1)

    def release(self) -> None:
        self.process.send_signal(signal.SIGUSR2)

    def metric(self, name: str, **labels: str) -> float:
        return metric_value(self.http.get("/metrics"), name, **labels)

    def requests(self, status: int, code: str) -> float:
        """Returns the number of requests to `/v1/segment` that ended with this status and code."""
        labels = {"route": "/v1/segment", "status": str(status), "code": code}
        return self.metric("silhouette_requests_total", **labels)

    def is_ready(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Polls a condition of the other process, for which this process has no event."""
        give_up = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < give_up, self.log
            time.sleep(0.01)

    def wait_exit_code(self) -> int:
        """Waits for the process to end and returns its exit code."""
        return self.process.wait(PATIENCE_S)


@contextmanager
def serving(
    folder: Path, repository: Path, *, port: int = 0, log: Path | None = None, **settings: object
) -> Iterator[ServerProcess]:
    """Runs a server as `starting` does, for a block that starts once it is ready."""
    with starting(folder, repository, port=port, log=log, **settings) as server:
        server.wait_until(server.is_ready)
        yield server


@contextmanager
def starting(
    folder: Path, repository: Path, *, port: int = 0, log: Path | None = None, **settings: object
) -> Iterator[ServerProcess]:
    """Runs a server for the duration of the block, which starts once it has logged its address.

    The log goes to `log`, or to a file in `folder`.
    """
    values = {"engine": "held", "model_repository": repository, **settings}
    log_file = log or folder / "server.log"
    with log_file.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.held", "serve", "--port", str(port)],
            cwd=ROOT,
            env=os.environ
            | {"TMPDIR": str(folder)}  # a supervisor that is killed leaves its files there
            | {f"SILHOUETTE_{key.upper()}": str(values[key]) for key in values},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        bound_port = port or _wait_port(process, log_file)
        with http_client(f"http://127.0.0.1:{bound_port}") as http:
            yield ServerProcess(process, bound_port, log_file, http)
    finally:
        process.kill()
        process.wait()


def http_client(url: str) -> httpx.Client:
    """Returns a client without TLS certificates, which take longer to load than all else."""
    return httpx.Client(base_url=url, timeout=PATIENCE_S, verify=False)


def _wait_port(process: subprocess.Popen[bytes], log_file: Path) -> int:
    """Waits for the log line with the address and returns its port."""
    give_up = time.monotonic() + PATIENCE_S
    while not (match := re.search(r"listening on \S+:(\d+)", log_file.read_text())):
        assert process.poll() is None, log_file.read_text()
        assert time.monotonic() < give_up, "the server did not log its address in time"
        time.sleep(0.01)
    return int(match[1])


def free_port() -> int:
    """Returns a port of loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
