"""The real tritonserver, out of the wheel of nvidia-pytriton, on loopback and without a GPU."""

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

PATIENCE_S = 180
"""For a start beside other work: the warm-up alone is four seconds of one core."""
LOG_TAIL = 4000


class StartFailed(Exception):
    """The server left, or never became ready; says the end of its log."""


def missing() -> str | None:
    """Why the server cannot run here, or None."""
    if not STUB.exists():
        return f"nvidia-pytriton, or its stub for Python {PYTHON}, is not installed"
    linked = subprocess.run(["ldd", STUB], env=_environment(), capture_output=True, text=True)
    absent = [line.split()[0] for line in linked.stdout.splitlines() if "not found" in line]
    return f"the server's Python stub wants {', '.join(absent)}" if absent else None


@dataclass(frozen=True)
class TritonServer:
    """A running server. Its process leads a group of its own, which its Python stubs are in."""

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
        with suppress(httpx.TransportError):
            # To load certificates takes 50 ms, and there is nobody to certify.
            answer = httpx.get(f"http://{self.http}/v2/health/ready", verify=False)
            return answer.status_code == 200
        return False

    def wait_until_ready(self) -> None:
        """A missing library makes the server hang, not leave: only a deadline ends that."""
        give_up = time.monotonic() + PATIENCE_S
        while not self.ready:
            if self.process.poll() is not None:
                raise StartFailed(f"left with {self.process.returncode}:\n{self.log[-LOG_TAIL:]}")
            if time.monotonic() > give_up:
                raise StartFailed(f"not ready in {PATIENCE_S} s:\n{self.log[-LOG_TAIL:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """At once, with its stubs; shutting down in order takes seconds."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for region in Path("/dev/shm").glob(f"{self.shm_prefix}*"):
            region.unlink(missing_ok=True)


@contextmanager
def serve(
    repository: Path,
    folder: Path,
    *,
    ports: tuple[int, int, int] | None = None,
    options: tuple[str, ...] = (),
) -> Iterator[TritonServer]:
    """Serves a model repository until the block ends; `folder` is for backends and the log."""
    http, grpc, metrics = ports or free_ports()
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
                "--log-info=false",  # what failed is otherwise far above tables of options
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
    addresses = [f"127.0.0.1:{port}" for port in (http, grpc, metrics)]
    server = TritonServer(process, *addresses, log_file, prefix)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.kill()


def free_ports() -> tuple[int, int, int]:
    """For HTTP, gRPC and metrics."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        http, grpc, metrics = (listener.getsockname()[1] for listener in sockets)
    return http, grpc, metrics


def _backends(folder: Path) -> Path:
    """The Python backend with the stub of this Python, and our backend on top of it.

    Copies: the server refuses links out of the folder.
    """
    backends = folder / "backends"
    if not backends.exists():
        shutil.copytree(WHEEL / "backends", backends)
        shutil.copy(STUB, backends / "python")
        (backends / "onnxruntime").mkdir()
        shutil.copy(BACKEND, backends / "onnxruntime" / "model.py")
    return backends


def _environment() -> dict[str, str]:
    """The first `python3` of PATH is the one whose packages models see."""
    libraries = [str(LIBRARIES), sysconfig.get_config_var("LIBDIR") or ""]
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
    }


def main() -> None:
    """Serves a model repository, by default the published models, until it is told to end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    repository = Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY
    with TemporaryDirectory() as folder, serve(repository, Path(folder)) as server:
        port = server.metrics.rpartition(":")[2]
        print(server.process.pid, server.grpc, port, flush=True)  # as the benchmark takes them
        with suppress(KeyboardInterrupt):
            server.process.wait()


if __name__ == "__main__":
    main()
