"""A server as processes of its own, watched from outside through /proc."""

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

from loadtests.compare.wire import HOST, Answer, Connection

PROC = Path("/proc")
SETTINGS = "SILHOUETTE_"
TICKS = os.sysconf("SC_CLK_TCK")
POLL_S = 0.02
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15
_STATE, _SESSION = 0, 3
_WITH_REAPED = slice(11, 15)
"""Of /proc/PID/stat from the state on; times are user and system, then of children that left."""
_GONE = "ZX"


class ServerFailed(Exception):
    """The server ended, or was not ready in time; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Tree:
    """All processes of a session, whatever became of their parents."""

    leader: int

    def cpu_s(self) -> float:
        """Processor time so far, to 10 ms a process, with that of children that have left."""
        return sum(_ticks(fields[_WITH_REAPED]) for _, fields in self._all()) / TICKS

    def memory_mb(self) -> float:
        """MB (10^6 bytes) resident; a page that processes share is counted once."""
        return sum(map(_proportional, self.pids())) / 1e6

    def pids(self) -> list[int]:
        """Of those that run."""
        return [pid for pid, fields in self._all() if fields[_STATE] not in _GONE]

    def _all(self) -> list[tuple[int, list[str]]]:
        found = [(pid, _stat(pid)) for pid in _running()]
        return [
            (pid, fields)
            for pid, fields in found
            if fields is not None and int(fields[_SESSION]) == self.leader
        ]


@dataclass(frozen=True, slots=True)
class Running:
    port: int
    tree: Tree
    ready_s: float
    """From the start of the process to the first good answer."""


def own_cpu_s() -> float:
    """Processor time of this process: what the client costs."""
    times = os.times()
    return times.user + times.system


def machine_cpu_s() -> float:
    """Processor time of everything on the machine so far."""
    _, user, nice, system, _idle, _iowait, irq, softirq, *_ = (PROC / "stat").read_text().split()
    return _ticks([user, nice, system, irq, softirq]) / TICKS


@asynccontextmanager
async def running(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    asks: bytes,
) -> AsyncIterator[Running]:
    """A server from a command with `{port}` in it, ready when `asks` is answered with 200.

    It gets a session of its own, of which nothing is left at the end. Raises ServerFailed.
    """
    port = free_port()
    with tempfile.TemporaryFile() as log:
        began = perf_counter()
        process = subprocess.Popen(  # noqa: ASYNC220  # nothing else runs yet
            [word.format(port=port) for word in command],
            cwd=folder,
            env=_without_settings(os.environ) | dict(environment),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        tree = Tree(process.pid)
        try:
            await _until_ready(process, port, asks)
            yield Running(port, tree, perf_counter() - began)
        except ServerFailed as error:
            log.seek(0)
            raise ServerFailed(f"{error}\n{log.read().decode(errors='replace')}") from None
        finally:
            await _stop(process, tree)


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Ours are measured as they come, whatever is set here."""
    return {name: value for name, value in environment.items() if not name.startswith(SETTINGS)}


async def _until_ready(process: subprocess.Popen[bytes], port: int, asks: bytes) -> None:
    give_up = perf_counter() + START_TIMEOUT_S
    while perf_counter() < give_up:
        if process.poll() is not None:
            raise ServerFailed(f"the server ended with {process.returncode}")
        if (answer := await _asked(port, asks)) and answer.status == 200:
            return
        await asyncio.sleep(POLL_S)
    raise ServerFailed(f"the server was not ready within {START_TIMEOUT_S} s")


async def _asked(port: int, request: bytes) -> Answer | None:
    with suppress(OSError, EOFError), Connection(port) as connection:
        return await asyncio.wait_for(connection.exchange(request), START_TIMEOUT_S)
    return None


async def _stop(process: subprocess.Popen[bytes], tree: Tree) -> None:
    """Asks the first process to end, and ends what then is left of the session."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
    for pid in tree.pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    give_up = perf_counter() + STOP_TIMEOUT_S
    while tree.pids() and perf_counter() < give_up:  # noqa: ASYNC110  # none is our child
        await asyncio.sleep(POLL_S)


def _running() -> list[int]:
    return [int(each.name) for each in PROC.iterdir() if each.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """From the state on; the name before it may hold anything. None when it has left."""
    with suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return None


def _ticks(fields: Sequence[str]) -> int:
    return sum(map(int, fields))


def _proportional(pid: int) -> int:
    """Bytes."""
    with suppress(OSError):
        found = re.search(r"^Pss:\s*(\d+) kB", (PROC / str(pid) / "smaps_rollup").read_text(), re.M)
        return 1024 * int(found[1]) if found else 0
    return 0
