"""Runs the server as its own process and observes it through /proc."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from training.benchmark.wire import HOST, Connection, get

POLL_S = 0.005
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
PREFIX = "SILHOUETTE_"
SERVICE_COMMAND = (sys.executable, "-m", "silhouette_seg")


class ServerStartError(Exception):
    """The server ended or was not ready in time; the message holds its output."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server process."""

    pid: int
    port: int
    ready_s: float
    """Seconds from process start to the first 200 of /readyz."""

    def cpu_s(self) -> float:
        """Returns the processor time of the process so far in seconds, to 10 ms."""
        return cpu_s(self.pid)

    def rss_mb(self) -> float:
        """Returns the current resident memory, in MB (10^6 bytes)."""
        return rss_mb(self.pid)

    def peak_mb(self) -> float:
        """Returns the peak resident memory, in MB (10^6 bytes)."""
        return _kib(_read_field("VmHWM", self.pid, "status"))

    def threads(self) -> int:
        """Returns the number of threads."""
        return int(_read_field("Threads", self.pid, "status"))


def rss_mb(pid: int) -> float:
    """Returns the resident memory of a process, in MB (10^6 bytes).

    It reads `smaps_rollup`, which counts every page; `status` is only approximate.
    """
    return _kib(_read_field("Rss", pid, "smaps_rollup"))


def _kib(value: str) -> float:
    return int(value.split()[0]) * 1024 / 1e6


def _read_field(name: str, pid: int, file: str) -> str:
    text = Path(f"/proc/{pid}/{file}").read_text()
    match = re.search(rf"^{name}:\s*(.+)$", text, re.MULTILINE)
    assert match is not None, f"Linux gives {name} for every process"
    return match[1]


def cpu_s(pid: int) -> float:
    """Returns the processor time of a process so far in seconds, to 10 ms; 0 after its end."""
    try:
        fields = _stat(pid)
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_s_with_children(pid: int) -> float:
    """Returns the processor time of a process and of its running children, in seconds."""
    return sum(map(cpu_s, (pid, *_children(pid))))


def pss_mb_with_children(pid: int) -> float:
    """Returns the resident memory of a process and its running children, in MB (10^6 bytes).

    A page that several of them share counts once.
    """
    pids = [pid, *_children(pid)]
    return sum(_kib(_read_field("Pss", process, "smaps_rollup")) for process in pids)


def _children(pid: int) -> list[int]:
    processes = Path("/proc").glob("[0-9]*")
    return [int(process.name) for process in processes if _parent(process) == pid]


def _parent(process: Path) -> int | None:
    try:
        return int(_stat(int(process.name))[1])
    except OSError:
        return None


def _stat(pid: int) -> list[str]:
    """Returns the fields of /proc/PID/stat from the state on.

    The name before the state may contain any character.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@asynccontextmanager
async def run_server(
    repository: Path, *, workers: int, command: Sequence[str] = SERVICE_COMMAND, **settings: str
) -> AsyncIterator[ServerProcess]:
    """Runs `silhouette serve` on a free port: ready on entry, stopped on exit.

    `settings` are the service's, by their own names: `engine="triton"`. A different `command` gets
    the same arguments. Raises ServerStartError.
    """
    port = free_port()
    address = ("--host", HOST, "--port", str(port))
    options = ("--model-repository", str(repository), "--workers", str(workers))
    with tempfile.TemporaryFile() as log:
        start = perf_counter()
        process = subprocess.Popen(  # noqa: ASYNC220  # nothing else runs yet
            (*command, "serve", *address, *options),
            stderr=log,
            stdout=log,
            env=_environment(settings),
        )
        try:
            await _wait_until_ready(process, port)
            yield ServerProcess(process.pid, port, perf_counter() - start)
        except ServerStartError as error:
            log.seek(0)
            raise ServerStartError(f"{error}\n{log.read().decode(errors='replace')}") from None
        finally:
            _stop(process)


def free_port() -> int:
    """Returns a free TCP port of the loopback interface."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """Returns this environment with only the given settings of the service.

    All other settings have their defaults.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return environment | {PREFIX + name.upper(): value for name, value in settings.items()}


async def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = perf_counter() + START_TIMEOUT_S
    while perf_counter() < deadline:
        if process.poll() is not None:
            raise ServerStartError(f"the server ended with {process.returncode}")
        with suppress(OSError, EOFError):
            async with Connection(port) as connection:
                status, _ = await connection.exchange(get("/readyz"))
                if status == 200:
                    return
        await asyncio.sleep(POLL_S)
    raise ServerStartError(f"the server was not ready within {START_TIMEOUT_S} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
