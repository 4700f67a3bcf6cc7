"""Runs a server in its own processes and reads their cost from /proc."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from loadtests.compare.http_client import HOST, HttpConnection, HttpResponse

PROC = Path("/proc")
SETTINGS_PREFIX = "SILHOUETTE_"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
POLL_S = 0.02
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15
_STATE, _SESSION = 0, 3
_CPU_TIMES = slice(11, 15)
"""Fields of /proc/PID/stat after the name: user and system time, then those of ended children."""
_ENDED_STATES = "ZX"


class ServerFailed(Exception):
    """The server ended, or was not ready in time. The message contains its output."""


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """All processes of a session, even if their parents have ended."""

    leader: int
    """Process id of the session leader."""

    def cpu_s(self) -> float:
        """Returns processor seconds so far, to 10 ms per process, including ended children."""
        return sum(_ticks(fields[_CPU_TIMES]) for _, fields in self._stats()) / TICKS_PER_S

    def memory_mb(self) -> float:
        """Returns resident MB (10^6 bytes). Pages that processes share are counted once."""
        return sum(map(_proportional_set_size, self.pids())) / 1e6

    def pids(self) -> list[int]:
        """Returns the ids of running processes."""
        return [pid for pid, fields in self._stats() if fields[_STATE] not in _ENDED_STATES]

    def _stats(self) -> list[tuple[int, list[str]]]:
        stats = [(pid, _stat(pid)) for pid in _process_ids()]
        return [
            (pid, fields)
            for pid, fields in stats
            if fields is not None and int(fields[_SESSION]) == self.leader
        ]


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that is ready."""

    port: int
    tree: ProcessTree
    ready_s: float
    """Seconds from the start of the process to the first response with status 200."""


def own_cpu_s() -> float:
    """Returns the processor seconds of this process, which is the client."""
    times = os.times()
    return times.user + times.system


def machine_cpu_s() -> float:
    """Returns the processor seconds of all processes of the machine so far."""
    _, user, nice, system, _idle, _iowait, irq, softirq, *_ = (PROC / "stat").read_text().split()
    return _ticks([user, nice, system, irq, softirq]) / TICKS_PER_S


@asynccontextmanager
async def run_server(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    readiness_request: bytes,
) -> AsyncIterator[RunningServer]:
    """Runs a server from a command that contains `{port}`. Raises ServerFailed.

    The server is ready when `readiness_request` gets status 200. It runs in its own session; all
    processes of the session have ended after the block.
    """
    port = free_port()
    with tempfile.TemporaryFile() as log:
        start_s = perf_counter()
        process = subprocess.Popen(  # noqa: ASYNC220  # no other task runs yet
            [word.format(port=port) for word in command],
            cwd=folder,
            env=_without_settings(os.environ) | dict(environment),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        tree = ProcessTree(process.pid)
        try:
            await _wait_ready(process, port, readiness_request)
            yield RunningServer(port, tree, perf_counter() - start_s)
        except ServerFailed as error:
            log.seek(0)
            raise ServerFailed(f"{error}\n{log.read().decode(errors='replace')}") from None
        finally:
            await _stop(process, tree)


def free_port() -> int:
    """Returns a port that is free at the moment."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment without Silhouette settings, so that defaults are measured."""
    return {
        name: value for name, value in environment.items() if not name.startswith(SETTINGS_PREFIX)
    }


async def _wait_ready(process: subprocess.Popen[bytes], port: int, request: bytes) -> None:
    deadline = perf_counter() + START_TIMEOUT_S
    while perf_counter() < deadline:
        if process.poll() is not None:
            raise ServerFailed(f"the server exited with code {process.returncode}")
        if (response := await _try_send(port, request)) and response.status == 200:
            return
        await asyncio.sleep(POLL_S)
    raise ServerFailed(f"the server was not ready within {START_TIMEOUT_S} s")


async def _try_send(port: int, request: bytes) -> HttpResponse | None:
    with suppress(OSError, EOFError), HttpConnection(port) as connection:
        return await asyncio.wait_for(connection.send(request), START_TIMEOUT_S)
    return None


async def _stop(process: subprocess.Popen[bytes], tree: ProcessTree) -> None:
    """Terminates the first process, then kills all remaining processes of the session."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
    for pid in tree.pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    deadline = perf_counter() + STOP_TIMEOUT_S
    while tree.pids() and perf_counter() < deadline:  # noqa: ASYNC110  # not our children
        await asyncio.sleep(POLL_S)


def _process_ids() -> list[int]:
    return [int(folder.name) for folder in PROC.iterdir() if folder.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """Returns the fields after the process name, which is arbitrary text. None if it has ended."""
    with suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return None


def _ticks(fields: Sequence[str]) -> int:
    return sum(map(int, fields))


def _proportional_set_size(pid: int) -> int:
    """Returns bytes, with shared pages divided among their processes; 0 if it has ended."""
    with suppress(OSError):
        found = re.search(r"^Pss:\s*(\d+) kB", (PROC / str(pid) / "smaps_rollup").read_text(), re.M)
        return 1024 * int(found[1]) if found else 0
    return 0
