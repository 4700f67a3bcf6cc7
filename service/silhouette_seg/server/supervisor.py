"""Runs several server processes behind one port: starts, restarts and stops them.

The supervisor has loaded the service and has no threads. It forks each process, so that all of them
share the memory of models and modules. It accepts no connection itself.
"""

import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from silhouette_seg.telemetry import log_fields

FIRST_DELAY_S = 0.5
"""Seconds before the second restart in a row; the first follows at once."""
MAX_DELAY_S = 15.0
"""Largest number of seconds before a restart: each in a row waits twice as long as the last."""
STEADY_S = 60.0
"""Seconds after which a process has proved itself: its end then begins a new row of restarts."""
MAX_RESTARTS = 8
"""Largest number of restarts of a process in a row; after them the whole server stops."""
TICK_S = 1.0
"""Seconds between two looks at the reports of the processes."""
MAX_SILENT_TICKS = 15
"""Ticks without a report after which a process counts as blocked and is killed."""
KILL_MARGIN_S = 10.0
"""Seconds beyond the time for a drain after which a process that has not ended is killed."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Process:
    """One server process, or its place while it waits for a restart."""

    index: int
    pid: int = 0
    """System id; 0 while the process does not run."""
    started_at: float = 0.0
    restarts: int = 0
    """Number of restarts in a row."""
    restart_at: float = 0.0
    last_report: float = 0.0
    silent_ticks: int = 0


class Supervisor:
    """Runs `count` processes of a server until a stop signal, and restarts those that end.

    `run_process` is called in each process with its number, and with True after a restart.
    `last_report` returns the time of a process's last sign of life. `on_death` gets the number of a
    process that ended while the server ran, `on_restart` is called for each restart.
    """

    def __init__(
        self,
        count: int,
        run_process: Callable[[int, bool], object],
        *,
        listener: socket.socket,
        drain_timeout_s: float,
        last_report: Callable[[int], float],
        on_death: Callable[[int], object],
        on_restart: Callable[[], object],
    ) -> None:
        self._processes = [_Process(index) for index in range(count)]
        self._run_process = run_process
        self._listener = listener
        self._drain_timeout_s = drain_timeout_s
        self._last_report = last_report
        self._on_death = on_death
        self._on_restart = on_restart
        self._stop_signal: int | None = None
        self._kill_at = float("inf")
        self._failed = False

    def run(self) -> int | None:
        """Runs the processes until all have ended, and returns the signal that stopped them.

        Returns None if a process failed: it was restarted too often, or did not end in order.
        """
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        signal.set_wakeup_fd(writer)
        try:
            for process in self._processes:
                self._start(process, restarted=False)
            next_tick = time.monotonic() + TICK_S
            while any(process.pid for process in self._processes) or self._stop_signal is None:
                if self._stop_signal is None and self._failed:
                    self._stop(signal.SIGTERM)
                    continue
                select.select([reader], [], [], max(0.0, self._next_event(next_tick)))
                self._handle_signals(reader)
                if time.monotonic() >= next_tick:
                    self._tick()
                    next_tick = time.monotonic() + TICK_S
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)
        return None if self._failed else self._stop_signal

    def _next_event(self, next_tick: float) -> float:
        """Returns the seconds until the next tick or restart."""
        waiting = [p.restart_at for p in self._processes if not p.pid and self._stop_signal is None]
        return min([next_tick, *waiting]) - time.monotonic()

    def _handle_signals(self, reader: int) -> None:
        numbers = b""
        if select.select([reader], [], [], 0)[0]:
            numbers = os.read(reader, 4096)
        for number in numbers:
            if number != signal.SIGCHLD:
                self._stop(number)
        self._reap()
        if self._stop_signal is None and not self._failed:
            self._restart_due()

    def _restart_due(self) -> None:
        for process in self._processes:
            if not process.pid and time.monotonic() >= process.restart_at:
                self._on_restart()
                self._start(process, restarted=True)

    def _start(self, process: _Process, *, restarted: bool) -> None:
        # Until the process has its own handlers, a signal to it must wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process.pid = os.fork()
            if not process.pid:
                self._run_forked(process.index, restarted=restarted)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        process.started_at = time.monotonic()
        process.last_report, process.silent_ticks = 0.0, 0

    def _run_forked(self, index: int, *, restarted: bool) -> NoReturn:
        code = 1
        try:
            # A Ctrl-C in the terminal is for the supervisor, which tells its processes.
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: os._exit(0))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._run_process(index, restarted)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            log.exception("a server process failed")
        finally:
            os._exit(code)

    def _stop(self, number: int) -> None:
        """Begins the drain of all processes; a second Ctrl-C ends their wait for requests."""
        if self._stop_signal is None:
            self._stop_signal = number
            self._kill_at = time.monotonic() + self._drain_timeout_s + KILL_MARGIN_S
            self._send(signal.SIGTERM)
            # The last process that closes the port must be the last that holds it.
            self._listener.close()
        elif number == signal.SIGINT:
            self._send(signal.SIGINT)

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.pid:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    def _reap(self) -> None:
        for process in self._processes:
            if process.pid:
                pid, status = os.waitpid(process.pid, os.WNOHANG)
                if pid:
                    process.pid = 0
                    self._on_end(process, pid, os.waitstatus_to_exitcode(status))

    def _on_end(self, process: _Process, pid: int, code: int) -> None:
        if self._stop_signal is not None:
            self._failed = self._failed or code != 0
            if code:
                log.error("process %d ended with code %d while it drained", pid, code)
            return
        self._on_death(process.index)
        now = time.monotonic()
        if now - process.started_at >= STEADY_S:
            process.restarts = 0
        fields = log_fields(ended_process=pid, exit_code=code)
        if process.restarts >= MAX_RESTARTS:
            self._failed = True
            log.critical(
                "process %d ended with code %d after %d restarts in a row; the server stops",
                *(pid, code, process.restarts),
                extra=fields,
            )
            return
        delay_s = restart_delay_s(process.restarts)
        process.restart_at = now + delay_s
        process.restarts += 1
        log.error(
            "process %d ended with code %d; it restarts in %.1f s",
            *(pid, code, delay_s),
            extra=fields,
        )

    def _tick(self) -> None:
        """Kills processes that are blocked, or that have not ended in time after a stop."""
        if time.monotonic() >= self._kill_at:
            log.error("processes did not end in time and are killed")
            self._send(signal.SIGKILL)
        for process in self._processes:
            last = self._last_report(process.index)
            if not process.pid or last != process.last_report or not last:
                process.last_report, process.silent_ticks = last, 0
                continue
            process.silent_ticks += 1
            if process.silent_ticks == MAX_SILENT_TICKS and self._stop_signal is None:
                log.error("process %d is blocked and is killed", process.pid)
                os.kill(process.pid, signal.SIGKILL)


def restart_delay_s(restarts: int) -> float:
    """Returns the seconds before the next restart after this number of restarts in a row."""
    return min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** (restarts - 1)) if restarts else 0.0
