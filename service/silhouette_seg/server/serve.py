"""Serves over HTTP until a stop signal, in one process or in several."""

import gc
import logging
import logging.config
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from silhouette_seg.api.forwarding import bind_unix
from silhouette_seg.runtime.process_group import ProcessGroup
from silhouette_seg.server.malloc import limit_malloc_arenas
from silhouette_seg.server.server import Server, bind
from silhouette_seg.server.supervisor import Supervisor
from silhouette_seg.settings import Settings
from silhouette_seg.telemetry import SUPERVISOR, logging_config, share_counters

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Runs the service until a stop signal, and returns after a clean shutdown.

    The signal is then raised again. Raises CannotListen if the address cannot be bound, and the
    errors of `create_app`. Exits with code 1 if one of several processes failed.
    """
    limit_malloc_arenas()
    disable_core_dumps()
    with bind(settings.host, settings.port) as listener:
        if settings.processes > 1:
            _serve_processes(settings, listener)
        else:
            server = Server(settings)
            _start_log(settings, listener)
            server.run(sockets=[listener])


def disable_core_dumps() -> None:
    """Sets this process's limit for core dumps to 0: they would write photos and keys to disk.

    A program that the kernel pipes dumps to receives the limit and is expected to respect it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def listener_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _start_log(settings: Settings, listener: socket.socket) -> None:
    config = logging_config(settings.log_format, process_ids=settings.processes > 1)
    logging.config.dictConfig(config)
    log.info("listening on %s", listener_url(listener))


def _serve_processes(settings: Settings, listener: socket.socket) -> None:
    """Loads the service, and runs its processes under a supervisor in this one."""
    group = ProcessGroup(settings.processes)
    supervisor_pid = os.getpid()

    def name() -> int | str:
        return SUPERVISOR if os.getpid() == supervisor_pid else group.index

    with TemporaryDirectory(prefix="silhouette-") as folder:
        share_counters(Path(folder), name)
        server = Server(settings, group, Path(folder))
        _start_log(settings, listener)
        stop_signal = _supervise(server, settings, listener, Path(folder))
    group.close()
    if stop_signal is None:
        sys.exit(1)
    signal.raise_signal(stop_signal)


def _supervise(
    server: Server, settings: Settings, listener: socket.socket, folder: Path
) -> int | None:
    """Runs the processes until all have ended; returns the stop signal, or None for a failure."""
    gateway = server.app.state.gateway
    group, health = gateway.group, gateway.process_health
    alive = os.pipe()
    siblings = [bind_unix(folder, index) for index in range(group.count)]
    for index in range(group.count):
        health.expect(index)

    def run_process(index: int, restarted: bool) -> None:
        os.close(alive[1])
        group.join(index, restarted=restarted)
        server.stop_at_end_of(alive[0])
        server.run(sockets=[listener, siblings[index]])

    gateway.webrtc.preload()
    # Objects that live as long as the process stay out of the collections, which write to them:
    # the processes go on sharing their memory.
    gc.collect()
    gc.freeze()
    supervisor = Supervisor(
        group.count,
        run_process,
        listener=listener,
        drain_timeout_s=settings.drain_timeout_s,
        last_report=health.last_report,
        on_death=group.forget,
        on_restart=gateway.telemetry.count_restart,
    )
    try:
        return supervisor.run()
    finally:
        for end in alive:
            os.close(end)
        for sibling in siblings:
            sibling.close()
