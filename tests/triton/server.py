"""Runs the real tritonserver from the wheel of nvidia-pytriton, on loopback and without a GPU."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
SITE = Path(sysconfig.get_path("purelib"))
WHEEL = SITE / "pytriton" / "tritonserver"
LIBRARIES = SITE / "nvidia_pytriton.libs"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
STUB = WHEEL / "python_backend_stubs" / PYTHON / "triton_python_backend_stub"
BACKEND = Path(__file__).parent / "onnxruntime_backend.py"

TIMEOUT_S = 180
"""Timeout of a start on a busy machine: the warm-up alone takes four seconds of one core."""
LOG_TAIL_CHARS = 4000
ABORTED_START = "boost::interprocess::lock_exception"
"""Error in the log of a server that aborted while it started its Python stubs.

It happens now and then to a server that starts right after another one was killed.
"""


class StartFailed(Exception):
    """The server exited or never became ready. The message has the end of its log."""


def missing_requirement() -> str | None:
    """Returns the reason why the server cannot run here, or None."""
    if not STUB.exists():
        return f"nvidia-pytriton, or its stub for Python {PYTHON}, is not installed"
    linked = subprocess.run(["ldd", STUB], env=_environment(), capture_output=True, text=True)
    absent = [line.split()[0] for line in linked.stdout.splitlines() if "not found" in line]
    return f"the server's Python stub needs {', '.join(absent)}" if absent else None


@dataclass(frozen=True)
class TritonServer:
    """A running server with its addresses. Its process group includes its Python stubs."""

    process: subprocess.Popen[bytes]
    http: str
    grpc: str
    metrics: str
    log_file: Path
    shm_prefix: str

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def ready(self) -> bool:
        """True if models are ready and metrics are served; Triton opens the metrics port last."""
        return self._answers(self.http, "/v2/health/ready") and self._answers(
            self.metrics, "/metrics"
        )

    @staticmethod
    def _answers(address: str, path: str) -> bool:
        with suppress(httpx.TransportError):
            # Without certificates, which take 50 ms to load.
            return httpx.get(f"http://{address}{path}", verify=False).status_code == 200
        return False

    def wait_until_ready(self) -> None:
        """Returns once the server is ready; raises StartFailed.

        The timeout covers a missing library, with which the server hangs instead of exiting.
        """
        give_up_at = time.monotonic() + TIMEOUT_S
        while not self.ready:
            if self.process.poll() is not None:
                raise StartFailed(
                    f"exited with {self.process.returncode}:\n{self.log[-LOG_TAIL_CHARS:]}"
                )
            if time.monotonic() > give_up_at:
                raise StartFailed(f"not ready in {TIMEOUT_S} s:\n{self.log[-LOG_TAIL_CHARS:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kills the server with its stubs at once: a regular shutdown takes seconds."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for region in Path("/dev/shm").glob(f"{self.shm_prefix}*"):
            region.unlink(missing_ok=True)


@contextmanager
def run_triton(
    repository: Path,
    folder: Path,
    *,
    ports: tuple[int, int, int] | None = None,
    options: tuple[str, ...] = (),
) -> Iterator[TritonServer]:
    """Serves a model repository until the block ends. `folder` receives backends and log.

    A server that aborts at its start is started once more, see ABORTED_START.
    """
    server = _start(repository, folder, ports or free_ports(), options)
    try:
        try:
            server.wait_until_ready()
        except StartFailed as error:
            if ABORTED_START not in str(error):
                raise
            server.kill()
            server = _start(repository, folder, ports or free_ports(), options)
            server.wait_until_ready()
        yield server
    finally:
        server.kill()


def _start(
    repository: Path, folder: Path, ports: tuple[int, int, int], options: tuple[str, ...]
) -> TritonServer:
    """Starts a server, which is not ready yet."""
    http, grpc, metrics = ports
    prefix = f"silhouette-{uuid4().hex[:12]}-"
    log_file = folder / "triton.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [
                WHEEL / "bin" / "tritonserver",
                f"--model-repository={repository}",
                "--model-config-name=cpu",
                "--disable-auto-complete-config",
                f"--backend-directory={_backends(folder)}",
                f"--cache-directory={WHEEL / 'caches'}",
                *(f"--{name}-address=127.0.0.1" for name in ("http", "grpc", "metrics")),
                f"--http-port={http}",
                f"--grpc-port={grpc}",
                f"--metrics-port={metrics}",
                "--allow-gpu-metrics=false",
                "--log-info=false",  # keeps errors near the end of the log
                "--metrics-interval-ms=200",
                "--exit-timeout-secs=10",
                *options,
                *(
                    f"--backend-config={name},shm-region-prefix-name={prefix}"
                    for name in ("python", "onnxruntime")
                ),
            ],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    addresses = [f"127.0.0.1:{port}" for port in ports]
    return TritonServer(process, *addresses, log_file, prefix)


def free_ports() -> tuple[int, int, int]:
    """Returns unused ports for HTTP, gRPC and metrics."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        http, grpc, metrics = (listener.getsockname()[1] for listener in sockets)
    return http, grpc, metrics


def _backends(folder: Path) -> Path:
    """Copies the Python backend with the stub of this Python, and adds the ONNX Runtime backend.

    The server rejects links that point out of the folder.
    """
    backends = folder / "backends"
    if not backends.exists():
        shutil.copytree(WHEEL / "backends", backends)
        shutil.copy(STUB, backends / "python")
        (backends / "onnxruntime").mkdir()
        shutil.copy(BACKEND, backends / "onnxruntime" / "model.py")
    return backends


def _environment() -> dict[str, str]:
    """Returns variables that make this Python the first `python3` of PATH, which models use."""
    libraries = [str(LIBRARIES), sysconfig.get_config_var("LIBDIR") or ""]
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
    }


def main() -> None:
    """Serves a model repository, by default the published one, until it is interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    repository = Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY
    with TemporaryDirectory() as folder, run_triton(repository, Path(folder)) as server:
        port = server.metrics.rpartition(":")[2]
        print(server.process.pid, server.grpc, port, flush=True)  # the benchmark reads this line
        with suppress(KeyboardInterrupt):
            server.process.wait()


if __name__ == "__main__":
    main()
